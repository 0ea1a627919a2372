"""What ranks candidates: the loss by default, or a figure of the predictions."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mentorgrad.domain.event import RestartDecided
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import Candidate, RunState, Score, criterion, preference
from mentorgrad.domain.spec import (
    Acceptance,
    Criterion,
    DataFiles,
    MentorChoice,
    Optimizer,
    Policy,
    RunSpec,
    Stages,
    Task,
)
from mentorgrad.errors import InvalidInput
from tests.support.numerics import tiny
from tests.unit.trainer_service.running.test_acceptance_rules import choose
from tests.unit.trainer_service.running.test_alternation import Done, parts
from trainer_service.control_plane.validation import validate_objective
from trainer_service.protocols import Scored
from trainer_service.running.budget import RacePlan

CAMPAIGN = pytest.mark.campaign
BY_FIGURE = [by for by in Criterion if by is not Criterion.LOSS]


def scored(name: str, loss: float, figure: float) -> Scored:
    score = Score(loss, figure, 10, macro_f1=figure, matthews=figure)
    return Scored(Candidate(candidate_id=name, score=score), torch.tensor([loss]))


SURE = scored("sure", 1.0, 0.6)
"""Of lower loss."""
RIGHT = scored("right", 2.0, 0.9)
"""Of more hits."""


@pytest.mark.parametrize("by", BY_FIGURE)
def test_proposals_are_ranked_by_it(by: Criterion) -> None:
    rule = Acceptance(policy=Policy.ALWAYS)
    assert choose(rule, proposals=[SURE, RIGHT]).chosen is SURE
    assert choose(rule, proposals=[SURE, RIGHT], by=by).chosen is RIGHT
    greedy = Acceptance(policy=Policy.EXPLORE, temperature=1e-3)
    assert choose(greedy, proposals=[SURE, RIGHT], by=by).chosen is RIGHT


@pytest.mark.parametrize("by", BY_FIGURE)
def test_reasons_name_it(by: Criterion) -> None:
    name = by.value.replace("_f1", " F1")
    rule = Acceptance(policy=Policy.BEST_OF)
    decision = choose(rule, proposals=[RIGHT], words=SURE, by=by)
    assert decision.reason == (f"higher selection {name}: best proposal 0.9000, sure 0.6000")
    rule = Acceptance()
    decision = choose(rule, proposals=[SURE], plan=RacePlan(0, 0, "too little"), by=by)
    assert decision.reason == "too little"


SPEC = RunSpec(
    optimizer=Optimizer(learning_rate=0.1, batch_size=8),
    stages=Stages(count=3, steps=6, candidates=3),
    mentor=MentorChoice("random_tokens", proposals=6),
    acceptance=Acceptance(finalists=2, probe_steps=3),
    seed=2,
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "by",
    [pytest.param(by, marks=() if by is Criterion.MACRO_F1 else CAMPAIGN) for by in Criterion],
)
def test_a_run_returns_its_best_by_the_criterion_and_says_its_lowest_loss(by: Criterion) -> None:
    spec = dataclasses.replace(SPEC, criterion=by)
    done = Done(spec, parts(objective=lambda *_: tiny()))
    assert done.state is RunState.SUCCEEDED, done.run.reason
    assert done.run.result is not None
    candidates = done.candidates()
    best = min(candidates, key=lambda c: preference(c.score, by))
    returned = done.run.result.returned
    assert criterion(returned.score, by) == criterion(best.score, by)
    assert returned.score.loss == best.score.loss
    assert done.run.best_selection_loss == min(c.score.loss for c in candidates)
    assert returned.score.macro_f1 is not None
    assert done.run.result.test is not None
    assert done.run.result.test.matthews is not None
    for decided in done.all(RestartDecided):
        assert f"selection {by.value.replace('_f1', ' F1')} of 3 branches" in decided.reason


# -- bad input --------------------------------------------------------------------------------


def violation(spec: RunSpec) -> tuple[str, str]:
    with pytest.raises(InvalidInput) as caught:
        validate_objective(spec)
    (found,) = caught.value.violations
    return found.field, found.description


@pytest.mark.parametrize("by", BY_FIGURE)
def test_a_function_has_a_loss_alone(by: Criterion) -> None:
    field, description = violation(RunSpec(objective=Function(), criterion=by))
    assert field == "spec.criterion"
    assert description == f"must be loss: without classes, {by.value} is undefined"


@pytest.mark.parametrize("by", [Criterion.MACRO_F1, Criterion.MATTHEWS])
def test_rows_of_one_class_are_named(by: Criterion, tmp_path: object) -> None:
    import json
    from pathlib import Path

    folder = Path(str(tmp_path))
    rows = [{"text": f"a text {i}", "label": i % 2} for i in range(8)]
    single = [{"text": f"another {i}", "label": 0} for i in range(4)]
    for name, content in (("train", rows), ("selection", single)):
        lines = "\n".join(map(json.dumps, content))
        (folder / f"{name}.jsonl").write_text(lines + "\n")
    data = DataFiles("train.jsonl", "selection.jsonl")
    task = Task("mine", data, "what it is about", ("a", "b"), shots=2)
    with pytest.raises(InvalidInput) as caught:
        validate_objective(RunSpec(task=task, criterion=by), data_roots=[folder])
    (found,) = caught.value.violations
    assert found.field == "spec.task.data.selection"
    assert "'b'" in found.description


@pytest.mark.parametrize("rounds", [2, 16])
def test_screening_with_fewer_rows_than_rounds_is_named(rounds: int) -> None:
    rule = Acceptance(screening_rounds=rounds)
    field, description = violation(RunSpec(objective=Function(), acceptance=rule))
    assert field == "spec.acceptance.screening_rounds"
    assert description == (
        f"{rounds} rounds need at least {2 ** (rounds - 1)} selection rows; there are 1"
    )


def test_forward_rows_for_less_than_a_stage_are_named() -> None:
    from mentorgrad.domain.spec import Budget

    field, description = violation(RunSpec(objective=Function(), budget=Budget(forward_rows=121)))
    assert field == "spec.budget.forward_rows"
    assert description.startswith("must be at least 122, ")
