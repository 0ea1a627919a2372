from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.domain.advice import ProposalStatus
from mentorgrad.domain.event import CandidatesScored, Created, RestartDecided, Segment
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import Run, RunState, Usage
from mentorgrad.domain.spec import (
    Acceptance,
    Budget,
    MentorChoice,
    Optimizer,
    Policy,
    RunSpec,
    Stages,
)
from run_store.temporary_store import TemporaryRunStore
from tests.support.numerics import tiny
from tests.unit.trainer_service.running.test_alternation import shared_store
from trainer_service.costs import Cost, Prices, RowCosts
from trainer_service.job import WorkerJob
from trainer_service.run_composition import run_parts
from trainer_service.running.budget import (
    UNLIMITED,
    Ledger,
    budget_violations,
    forward_row_violations,
    new_ledger,
    schedule_position,
    share_spent,
    stage_length,
    takes_no_steps,
    trajectory_left,
)
from trainer_service.running.execution import execute
from trainer_service.running.stop_control import StopRequest
from trainer_service.tasks.data import Split


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


def test_a_budget_of_no_steps_leaves_none_to_any_stage() -> None:
    spec = RunSpec(stages=Stages(count=3, steps=10), budget=Budget(gradient_steps=0))
    book = begin(spec, True)
    assert takes_no_steps(spec)
    assert [stage_length(spec, book, stage, 0) for stage in range(3)] == [0, 0, 0]
    assert (trajectory_left(spec, book, 0), book.steps_left) == (0, 0)
    assert [share_spent(spec, book.usage, stage, 0) for stage in range(3)] == [0, 1 / 3, 2 / 3]
    spec = dataclasses.replace(spec, budget=Budget(gradient_steps=0, evaluations=10))
    assert share_spent(spec, Usage(evaluations=4), 1, 0) == 0.4


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
        (Budget(gradient_steps=0), []),
        (Budget(evaluations=3), ["spec.budget.evaluations"]),
        (Budget(evaluations=4), []),
    ],
)
def test_a_budget_too_small_is_named(budget: Budget, fields: list[str]) -> None:
    found = list(budget_violations(RunSpec(budget=budget), has_words=True))
    assert [violation.field for violation in found] == fields


# -- whole runs -------------------------------------------------------------------------------


def run(spec: RunSpec) -> tuple[Run, TemporaryRunStore]:
    torch.set_num_threads(1)
    store = shared_store()
    created, _ = store.create(Created(spec=spec))
    lease = store.claim(created.run_id, "test", timedelta(seconds=30))
    parts = run_parts(WorkerJob(run_id="-", store="-"))
    assert execute(store, created, lease, parts, StopRequest()) is RunState.SUCCEEDED
    return store.get_run(created.run_id), store


BASE = RunSpec(
    objective=Function("ackley", 2),
    optimizer=Optimizer(learning_rate=0.1),
    stages=Stages(count=3, steps=10, candidates=3),
    mentor=MentorChoice("random_tokens", proposals=6),
    acceptance=Acceptance(finalists=3, probe_steps=5),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["none", "random_tokens"])
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


@pytest.mark.slow
@pytest.mark.parametrize("evaluations", [2, 12])
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


# -- forward rows -----------------------------------------------------------------------------


@given(
    limit=st.integers(0, 3_000),
    reserve=st.integers(0, 5),
    finalists=st.integers(1, 10),
    probe_steps=st.integers(1, 50),
    probe_scores=st.integers(1, 20),
)
def test_a_race_never_breaks_the_limit_on_forward_rows(
    limit: int, reserve: int, finalists: int, probe_steps: int, probe_scores: int
) -> None:
    book = Ledger(Budget(forward_rows=limit), PRICES, reserve)
    plan = book.plan_race(finalists, probe_steps, probe_scores)
    if plan.steps:
        spent = plan.branches * (plan.steps * 3 * 32 + plan.scores * 100)
        assert spent + reserve * 100 <= limit
        # With one step, score or branch more it would not fit, or that was not asked for.
        assert plan.branches >= 2
    assert plan.branches <= finalists + 1
    assert plan.steps <= probe_steps


def test_limits_hold_together() -> None:
    book = Ledger(Budget(gradient_steps=10, forward_rows=5 * 96 + 95), PRICES)
    assert book.steps_left == 5
    book.charge_step(96)
    assert (book.steps_left, book.usage.gradient_steps, book.usage.forward_rows) == (4, 1, 96)
    assert not book.allows(PRICES.step * 5)
    assert book.most(PRICES.step, 3) == 3


def test_hints_and_exemplars_cost_forward_rows() -> None:
    book = ledger()
    book.charge_hint()
    book.charge_exemplars(5, parameters=2)
    book.charge_exemplars(0)
    usage = book.usage
    assert (usage.gradient_steps, usage.hint_steps) == (1, 1)
    assert (usage.forward_rows, usage.exemplar_rows) == (3 * 32 + 10, 10)


def test_with_forward_rows_alone_the_schedule_and_the_last_stage_end_with_them() -> None:
    """The documented rule: stages are as long as the spec says, the last one takes what is left."""
    spec = RunSpec(stages=Stages(count=3, steps=10), budget=Budget(forward_rows=10_000))
    prices = Prices(RowCosts(setup=400), batch=32, selection_rows=100)
    book = new_ledger(spec, False, prices)
    assert book.usage.forward_rows == 400
    assert book.final_reserve == 4
    assert schedule_position(spec, book, 0) == (0, 100)
    assert [stage_length(spec, book, stage, 0) for stage in (0, 2)] == [10, (9_600 - 400) // 96]
    for _ in range(50):
        book.charge_step(96)
    assert schedule_position(spec, book, 50) == (50, 100)
    assert share_spent(spec, book.usage, 1, 50) == pytest.approx((400 + 4_800) / 10_000)
    assert stage_length(spec, book, 2, 50) == (10_000 - 400 - 4_800 - 400) // 96


def test_stages_without_steps_take_none_of_the_forward_rows() -> None:
    spec = RunSpec(stages=Stages(count=3, steps=0), budget=Budget(forward_rows=10_000))
    assert stage_length(spec, begin(spec, False), 2, 0) == 0


@pytest.mark.parametrize(("limit", "wrong"), [(40 * 96 + 4 * 100 - 1, True), (4_240, False)])
def test_too_few_forward_rows_for_one_stage_are_named(limit: int, wrong: bool) -> None:
    spec = RunSpec(budget=Budget(forward_rows=limit))
    found = list(forward_row_violations(spec, True, PRICES))
    assert [violation.field for violation in found] == ["spec.budget.forward_rows"] * wrong
    assert all("at least 4240" in violation.description for violation in found)


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "name"), [(44, "none"), (120, "random_tokens")])
def test_a_run_ends_within_its_forward_rows_and_its_end_is_scored(rows: int, name: str) -> None:
    spec = dataclasses.replace(
        BASE, mentor=MentorChoice(name, proposals=6), budget=Budget(forward_rows=rows)
    )
    done, store = run(spec)
    usage = done.usage
    assert usage.forward_rows <= rows
    # Less is left than a step and the scores that may be kept back for the end.
    assert usage.forward_rows > rows - 3 - 4
    assert usage.forward_rows == 3 * usage.gradient_steps + usage.evaluations
    scored = [
        c
        for e in store.events(done.run_id)
        if isinstance(e.payload, CandidatesScored)
        for c in e.payload.candidates
    ]
    assert scored[-1].step == done.step


@pytest.mark.slow
def test_every_row_through_the_model_is_counted() -> None:
    """Of an encoder with a head: train batches, selection rows, and nothing of the test split."""
    built = tiny()
    seen: list[int] = []
    encoded = built.problem.batch_logits  # type: ignore[attr-defined]

    def counted(points: torch.Tensor, batch: Any) -> torch.Tensor:
        passes = 3 if points.requires_grad else 1
        seen.append(passes * len(points) * len(batch.ids))
        result: torch.Tensor = encoded(points, batch)
        return result

    built.problem.batch_logits = counted  # type: ignore[attr-defined]
    spec = dataclasses.replace(
        BASE, optimizer=Optimizer(batch_size=8), stages=Stages(count=2, steps=4, candidates=2)
    )
    torch.set_num_threads(1)
    store = shared_store()
    created, _ = store.create(Created(spec=spec))
    lease = store.claim(created.run_id, "test", timedelta(seconds=30))
    parts = run_parts(WorkerJob(run_id="-", store="-"))
    parts = dataclasses.replace(parts, objective=lambda *_: built)
    assert execute(store, created, lease, parts, StopRequest()) is RunState.SUCCEEDED
    tested = built.problem.size(Split.TEST)
    assert sum(seen) - tested == store.get_run(created.run_id).usage.forward_rows
