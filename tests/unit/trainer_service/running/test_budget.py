from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mentorgrad.domain.advice import ProposalStatus
from mentorgrad.domain.event import CandidatesScored, Created, RestartDecided, Segment
from mentorgrad.domain.run import Run, RunState
from mentorgrad.domain.spec import (
    Acceptance,
    Budget,
    Function,
    MentorChoice,
    Optimizer,
    Policy,
    RunSpec,
    Stages,
)
from run_store.memory_store import MemoryRunStore
from trainer_service.composition import run_parts
from trainer_service.costs import Cost, Prices, RowCosts
from trainer_service.job import WorkerJob
from trainer_service.running.budget import (
    UNLIMITED,
    Ledger,
    budget_violations,
    new_ledger,
    stage_length,
)
from trainer_service.running.execution import execute
from trainer_service.running.stop_control import StopRequest


def ledger(steps: int | None = None, evaluations: int | None = None, reserve: int = 0) -> Ledger:
    return Ledger(Budget(steps, evaluations), PRICES, reserve)


PRICES = Prices(RowCosts(), batch=32, selection_rows=100)


def begin(spec: RunSpec, has_words: bool) -> Ledger:
    return new_ledger(spec, has_words, PRICES)


@given(
    steps=st.integers(1, 200),
    evaluations=st.integers(1, 50),
    reserve=st.integers(0, 20),
    finalists=st.integers(1, 10),
    probe_steps=st.integers(1, 50),
    probe_scores=st.integers(1, 20),
)
@settings(deadline=None, max_examples=200)
def test_a_race_never_breaks_the_budget(
    steps: int,
    evaluations: int,
    reserve: int,
    finalists: int,
    probe_steps: int,
    probe_scores: int,
) -> None:
    plan = ledger(steps, evaluations, reserve).plan_race(finalists, probe_steps, probe_scores)
    assert plan.branches * plan.steps <= steps
    if plan.steps:  # without steps the scores that there are already are compared
        assert plan.branches * plan.scores <= max(evaluations - reserve, 0)
        assert 1 <= plan.scores <= min(probe_scores, plan.steps)
    assert plan.branches <= finalists + 1
    assert plan.steps <= probe_steps
    assert plan.branches != 1
    whole = (plan.branches, plan.steps) == (finalists + 1, probe_steps)
    often = not plan.steps or plan.scores == min(probe_scores, probe_steps)
    assert (whole and often) is (plan.reason == "")


def test_a_race_without_steps_costs_nothing() -> None:
    assert ledger(1, 0).plan_race(3, 10).steps == 0
    assert ledger(1, 0).plan_race(3, 10).branches == 4
    asked_for = ledger(100, 0).plan_race(2, 0)
    assert (asked_for.branches, asked_for.steps, asked_for.reason) == (3, 0, "")


def test_without_limits_everything_fits() -> None:
    plan = ledger().plan_race(3, 10)
    assert (plan.branches, plan.steps, plan.reason) == (4, 10, "")
    assert ledger().steps_left == UNLIMITED


def test_the_final_evaluations_are_kept_back() -> None:
    book = begin(RunSpec(budget=Budget(evaluations=20), stages=Stages(candidates=3)), True)
    book.charge_scores(2)
    assert book.evaluations_left() == 12
    assert book.evaluations_left(final=True) == 18


def test_with_a_stride_the_last_snapshot_is_kept_back_for_too() -> None:
    stages = Stages(candidates=3, stride=2)
    assert begin(RunSpec(budget=Budget(evaluations=20), stages=stages), True).final_reserve == 8


def test_the_last_stage_takes_what_is_left() -> None:
    spec = RunSpec(stages=Stages(count=3, steps=10), budget=Budget(gradient_steps=50))
    book = begin(spec, False)
    book.charge(Cost(gradient_steps=20))
    assert (stage_length(spec, book, 1, 20), stage_length(spec, book, 2, 20)) == (10, 30)
    book.charge(Cost(gradient_steps=25), probe_steps=25)
    assert stage_length(spec, book, 1, 20) == 5


def test_without_a_budget_a_stage_that_went_on_takes_from_the_last_ones() -> None:
    spec = RunSpec(stages=Stages(count=3, steps=10))
    book = begin(spec, False)
    lengths = [stage_length(spec, book, 1, step) for step in (10, 14, 23)]
    assert lengths == [10, 10, 7]
    assert stage_length(spec, book, 2, 27) == 3


def test_the_first_stage_may_be_of_another_length() -> None:
    spec = RunSpec(stages=Stages(count=3, steps=10, first_steps=4))
    book = begin(spec, False)
    assert spec.stages.total_steps == 24
    lengths = [stage_length(spec, book, stage, step) for stage, step in ((0, 0), (1, 4), (2, 14))]
    assert lengths == [4, 10, 10]
    limited = dataclasses.replace(spec, budget=Budget(gradient_steps=30))
    assert stage_length(limited, begin(limited, False), 0, 0) == 4


@pytest.mark.parametrize(
    ("stages", "steps", "wrong"),
    [
        (Stages(first_steps=0), 39, True),
        (Stages(first_steps=0), 40, False),
        (Stages(first_steps=5), 4, True),
        (Stages(first_steps=5), 5, False),
        (Stages(steps=0), 1, False),
    ],
)
def test_a_budget_carries_the_first_stage_that_takes_steps(
    stages: Stages, steps: int, wrong: bool
) -> None:
    spec = RunSpec(stages=stages, budget=Budget(gradient_steps=steps))
    assert bool(list(budget_violations(spec, has_words=True))) is wrong


@pytest.mark.parametrize(
    ("budget", "fields"),
    [
        (Budget(), []),
        (Budget(gradient_steps=39), ["spec.budget.gradient_steps"]),
        (Budget(gradient_steps=40), []),
        (Budget(evaluations=3), ["spec.budget.evaluations"]),
        (Budget(evaluations=4), []),
    ],
)
def test_a_budget_too_small_is_named(budget: Budget, fields: list[str]) -> None:
    found = list(budget_violations(RunSpec(budget=budget), has_words=True))
    assert [violation.field for violation in found] == fields


# -- whole runs -------------------------------------------------------------------------------


def run(spec: RunSpec) -> tuple[Run, MemoryRunStore]:
    torch.set_num_threads(1)
    store = MemoryRunStore()
    created, _ = store.create(Created(spec=spec))
    lease = store.claim(created.run_id, "test", timedelta(seconds=30))
    parts = run_parts(WorkerJob(run_id="-", store="-", owner="-"))
    assert execute(store, created, lease, parts, StopRequest()) is RunState.SUCCEEDED
    return store.get_run(created.run_id), store


BASE = RunSpec(
    objective=Function("ackley", 2),
    optimizer=Optimizer(learning_rate=0.1),
    stages=Stages(count=3, steps=10, candidates=3),
    mentor=MentorChoice("random_tokens", proposals=6),
    acceptance=Acceptance(finalists=3, probe_steps=5),
)


@pytest.mark.parametrize("name", ["none", "random_tokens", "perturb"])
def test_arms_with_and_without_races_take_equally_many_steps(name: str) -> None:
    spec = dataclasses.replace(
        BASE, mentor=MentorChoice(name, proposals=6), budget=Budget(gradient_steps=73)
    )
    done, store = run(spec)
    assert done.usage.gradient_steps == 73
    taken = [e.payload for e in store.events(done.run_id) if isinstance(e.payload, Segment)]
    assert done.step == sum(len(segment.snapshots) for segment in taken)
    assert done.step + done.usage.probe_steps == 73
    assert (done.usage.probe_steps > 0) is (name != "none")


def test_without_a_budget_the_races_come_on_top() -> None:
    done, _ = run(BASE)
    assert (done.step, done.usage.probe_steps, done.usage.gradient_steps) == (30, 40, 70)


@pytest.mark.parametrize("evaluations", [2, 4, 7, 9, 12, 17, 30])
def test_every_evaluation_is_counted_and_none_is_too_many(evaluations: int) -> None:
    done, store = run(dataclasses.replace(BASE, budget=Budget(evaluations=evaluations)))
    assert done.usage.evaluations <= evaluations
    scored = [
        c
        for e in store.events(done.run_id)
        if isinstance(e.payload, CandidatesScored)
        for c in e.payload.candidates
    ]
    races = [
        branch
        for e in store.events(done.run_id)
        if isinstance(e.payload, RestartDecided)
        for branch in e.payload.branches
        if branch.loss_after is not None
    ]
    starts = [c for c in scored if c.candidate_id.endswith("/start") and c.stage > 0]
    # Where a race ended is a candidate by the check that is counted for its branch.
    assert done.usage.evaluations == len(scored) - len(starts) + len(races)
    # However little there is, the end of the last stage was scored.
    assert scored[-1].step == done.step


def test_proposals_beyond_the_evaluations_are_over_budget() -> None:
    spec = dataclasses.replace(
        BASE,
        stages=Stages(count=2, steps=10, candidates=2),
        acceptance=Acceptance(policy=Policy.ALWAYS),
        budget=Budget(evaluations=8),
    )
    done, store = run(spec)
    (decided,) = [e.payload for e in store.events(done.run_id) if e.kind == "restart_decided"]
    assert isinstance(decided, RestartDecided)
    statuses = [outcome.status for outcome in decided.outcomes]
    assert statuses.count(ProposalStatus.OVER_BUDGET) == 3
    assert statuses.count(ProposalStatus.APPLIED) == 1
    assert done.usage.evaluations == 8


def test_when_no_evaluations_are_left_nobody_is_asked_and_the_log_says_why() -> None:
    done, store = run(dataclasses.replace(BASE, budget=Budget(evaluations=4)))
    decided = [e.payload for e in store.events(done.run_id) if e.kind == "restart_decided"]
    assert done.usage.mentor_calls == 0
    for payload in decided:
        assert isinstance(payload, RestartDecided)
        assert payload.reason.startswith("not asked")
    assert len(decided) == 2
