"""Whole runs in this process: what the loop decides, records and returns."""

from __future__ import annotations

import dataclasses
import functools
import statistics
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from mentorgrad.domain.advice import (
    Answer,
    AnswerStatus,
    Batch,
    Outcomes,
    Proposal,
    ProposalRequest,
    ProposalStatus,
    Wants,
)
from mentorgrad.domain.event import (
    CandidatesScored,
    CheckpointSaved,
    Created,
    EventKind,
    MentorBack,
    MentorLost,
    ProposalsReceived,
    RestartDecided,
    Segment,
    StageStarted,
)
from mentorgrad.domain.objective import Function
from mentorgrad.domain.query import EventQuery, View
from mentorgrad.domain.run import CandidateSource, Run, RunState
from mentorgrad.domain.spec import (
    Acceptance,
    Budget,
    Capture,
    CaptureContent,
    Fallback,
    MentorChoice,
    Optimizer,
    Policy,
    RunSpec,
    Stages,
)
from run_store.temporary_store import TemporaryRunStore
from tests.support.numerics import function
from trainer_service.job import WorkerJob
from trainer_service.objectives.number_language import NumberLanguage
from trainer_service.objectives.torch_free import ARTIFACT
from trainer_service.protocols import Projected, Scored
from trainer_service.run_composition import run_parts
from trainer_service.running.execution import Parts, execute
from trainer_service.running.stop_control import StopKind, StopRequest

SPEC = RunSpec(
    objective=Function("rastrigin", 2),
    optimizer=Optimizer(learning_rate=0.05),
    stages=Stages(count=4, steps=15, candidates=3),
    mentor=MentorChoice("random_tokens", proposals=8),
    acceptance=Acceptance(finalists=3, probe_steps=6),
    seed=5,
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def parts(**changes: Any) -> Parts:
    return dataclasses.replace(run_parts(WorkerJob(run_id="-", store="-")), **changes)


@functools.cache
def shared_store() -> TemporaryRunStore:
    """A store for all runs of a process: making one costs a sixth of a short run."""
    return TemporaryRunStore()


class Done:
    """A finished run and its log."""

    def __init__(self, spec: RunSpec, how: Parts | None = None) -> None:
        self.store = shared_store()
        created, _ = self.store.create(Created(spec=spec))
        lease = self.store.claim(created.run_id, "test", timedelta(seconds=60))
        self.state = execute(self.store, created, lease, how or parts(), StopRequest())
        self.run_id = created.run_id

    @property
    def run(self) -> Run:
        return self.store.get_run(self.run_id)

    def all(self, kind: type) -> list[Any]:
        events = self.store.events(self.run_id, EventQuery(view=View.FULL))
        return [event.payload for event in events if isinstance(event.payload, kind)]

    def candidates(self) -> list[Any]:
        return [c for payload in self.all(CandidatesScored) for c in payload.candidates]


@functools.cache
def usual() -> Done:
    """A run of `SPEC`, for all tests that look at one and change nothing."""
    return Done(SPEC)


# -- races ------------------------------------------------------------------------------------


def test_a_branch_that_is_scored_on_its_way_goes_on_from_its_lowest_point() -> None:
    """A learning rate that overshoots, so that a branch is lowest somewhere before its end."""
    fast = dataclasses.replace(
        SPEC, stages=Stages(count=2, steps=5), optimizer=Optimizer(learning_rate=0.8)
    )
    rule = dataclasses.replace(SPEC.acceptance, probe_scores=6)
    once, often = Done(fast), Done(dataclasses.replace(fast, acceptance=rule))
    (end,), (lowest,) = once.all(RestartDecided), often.all(RestartDecided)
    assert [b.candidate_id for b in lowest.branches] == [b.candidate_id for b in end.branches]
    pairs = zip(lowest.branches, end.branches, strict=True)
    assert all(a.loss_after <= b.loss_after for a, b in pairs)
    assert lowest.branches != end.branches
    assert lowest.usage.evaluations - end.usage.evaluations == 4 * 5
    assert lowest.usage.probe_steps == end.usage.probe_steps == 4 * 6
    start = next(c for c in often.candidates() if c.candidate_id == "s1/start")
    assert start.score.loss == min(branch.loss_after for branch in lowest.branches)
    (_, begun) = often.all(StageStarted)
    assert begun.text == start.text


def test_no_more_scores_are_kept_back_for_a_race_than_it_has_steps() -> None:
    rule = Acceptance(finalists=3, probe_steps=2, probe_scores=1_000)
    done = Done(dataclasses.replace(SPEC, acceptance=rule, budget=Budget(evaluations=60)))
    scored = [c for c in done.candidates() if c.source is CandidateSource.PROPOSAL]
    assert sum(candidate.stage == 0 for candidate in scored) == SPEC.mentor.proposals


# -- restarts matter --------------------------------------------------------------------------


@pytest.mark.campaign
def test_restarts_by_random_points_beat_plain_descent_at_the_same_budget() -> None:
    spec = dataclasses.replace(
        SPEC, stages=Stages(count=4, steps=20, candidates=2), budget=Budget(gradient_steps=220)
    )
    losses: dict[str, list[float]] = {"none": [], "random_tokens": []}
    for seed in range(8):
        for name, found in losses.items():
            arm = dataclasses.replace(spec, mentor=MentorChoice(name, proposals=16), seed=seed)
            done = Done(arm)
            result = done.run.result
            assert result is not None
            assert result.usage.gradient_steps == 220
            found.append(result.returned.score.loss)
    pairs = list(zip(losses["random_tokens"], losses["none"], strict=True))
    assert sum(ours < plain - 0.5 for ours, plain in pairs) >= 6
    assert statistics.mean(losses["random_tokens"]) < 0.5 * statistics.mean(losses["none"])


@pytest.mark.slow
def test_arms_share_their_start_and_their_first_stage() -> None:
    arms = [
        Done(dataclasses.replace(SPEC, mentor=MentorChoice(name)))
        for name in ("none", "perturb", "random_tokens")
    ]
    first = [
        np.concatenate([s.parameters for s in arm.all(Segment) if s.stage == 0]) for arm in arms
    ]
    assert all(np.array_equal(first[0], other) for other in first[1:])


# -- the log ----------------------------------------------------------------------------------


def test_the_log_tells_the_whole_story() -> None:
    done = usual()
    assert done.state is RunState.SUCCEEDED
    starts = done.all(StageStarted)
    assert [(s.stage, s.step) for s in starts] == [(0, 0), (1, 15), (2, 30), (3, 45)]
    steps = [s.step for segment in done.all(Segment) for s in segment.snapshots]
    assert steps == list(range(1, 61))
    ids = [c.candidate_id for c in done.candidates()]
    assert len(set(ids)) == len(ids)
    assert ids[:4] == ["s0/start", "s0/step5", "s0/step10", "s0/step15"]
    assert {"s0/p1", "s2/p8", "s1/start", "s3/step60"} <= set(ids)
    for decided in done.all(RestartDecided):
        assert len(decided.outcomes) == 8
        statuses = [outcome.status for outcome in decided.outcomes]
        assert statuses.count(ProposalStatus.APPLIED) == decided.restarted
        assert statuses.count(ProposalStatus.LOST) == 3 - decided.restarted
        assert decided.branches[0].candidate_id == decided.incumbent_id
        assert len(decided.branches) == 4
        lowest = min(decided.branches, key=lambda b: b.loss_after)
        assert decided.chosen_id == lowest.candidate_id
    assert len(done.all(CheckpointSaved)) == 3


def test_the_best_candidate_of_the_whole_run_is_returned() -> None:
    done = Done(dataclasses.replace(SPEC, acceptance=Acceptance(policy=Policy.ALWAYS)))
    result = done.run.result
    assert result is not None
    best = min(done.candidates(), key=lambda c: c.score.loss)
    assert result.returned == best
    assert result.restarts_applied == 3
    assert done.run.best_selection_loss == best.score.loss
    tensors = safetensors.numpy.load(done.store.read_artifact(done.run_id, ARTIFACT))
    (point,) = tensors.values()
    score = function("rastrigin", 2).problem.score(torch.from_numpy(point)[None])
    assert score[0].loss == best.score.loss


@pytest.mark.slow
@pytest.mark.parametrize("policy", [policy for policy in Policy if policy is not Policy.FIRST])
def test_the_next_stage_starts_where_the_decision_says(policy: Policy) -> None:
    rule = Acceptance(policy=policy, finalists=3, probe_steps=6)
    done = Done(dataclasses.replace(SPEC, acceptance=rule, stages=Stages(2, 15, 3)))
    (decided,) = done.all(RestartDecided)
    known = {c.candidate_id: c for c in done.candidates()}
    (_, start) = done.all(StageStarted)
    if policy is Policy.RACE:
        assert known["s1/start"].parents == (decided.chosen_id,)
        assert start.text == known["s1/start"].text
        assert done.run.usage.probe_steps == 4 * 6
    else:
        assert start.text == known[decided.chosen_id].text
        assert done.run.usage.probe_steps == 0


def test_blending_starts_between_proposal_and_incumbent() -> None:
    rule = Acceptance(policy=Policy.ALWAYS, blend=0.25)
    done = Done(dataclasses.replace(SPEC, acceptance=rule, stages=Stages(2, 15, 3)))
    (decided,) = done.all(RestartDecided)
    known = {c.candidate_id: c for c in done.candidates()}

    def point(text: str) -> np.ndarray:
        return np.array([float(number) for number in text.split()])

    expected = 0.25 * point(known[decided.chosen_id].text)
    expected += 0.75 * point(known[decided.incumbent_id].text)
    np.testing.assert_allclose(point(done.all(StageStarted)[1].text), expected, atol=2e-3)


def test_none_asks_nothing_and_decides_nothing() -> None:
    done = Done(dataclasses.replace(SPEC, mentor=MentorChoice("none")))
    assert done.all(ProposalsReceived) == done.all(RestartDecided) == []
    usage = done.run.usage
    assert (usage.mentor_calls, usage.probe_steps, usage.gradient_steps) == (0, 0, 60)


@pytest.mark.slow
def test_capture_off_records_no_snapshots_and_changes_nothing_else() -> None:
    off = dataclasses.replace(SPEC, capture=Capture(CaptureContent.OFF))
    with_it, without = usual(), Done(off)
    assert without.all(Segment) == []
    assert [c.score for c in with_it.candidates()] == [c.score for c in without.candidates()]


def test_a_run_that_diverges_fails_with_one_readable_line() -> None:
    done = Done(
        dataclasses.replace(
            SPEC,
            objective=Function("rosenbrock", 2),
            optimizer=Optimizer("sgd", learning_rate=50.0),
        )
    )
    assert (done.state, done.run.state) == (RunState.FAILED, RunState.FAILED)
    assert "lower learning rate" in done.run.reason
    assert "\n" not in done.run.reason


def test_a_run_that_another_worker_had_meanwhile_is_resumed() -> None:
    """The claim says whose turn it is, not the look at the run before that."""
    store, stopper = TemporaryRunStore(), StopRequest()
    seen, _ = store.create(Created(spec=SPEC))
    stopper.request(StopKind.INTERRUPT)
    other = store.claim(seen.run_id, "another", timedelta(seconds=60))
    assert execute(store, seen, other, parts(), stopper) is RunState.INTERRUPTED
    lease = store.claim(seen.run_id, "test", timedelta(seconds=60))
    assert execute(store, seen, lease, parts(), StopRequest()) is RunState.SUCCEEDED
    kinds = [event.kind for event in store.events(seen.run_id, EventQuery())]
    assert kinds.count(EventKind.RESUMED) == 1


def test_a_defect_fails_the_run_and_keeps_its_inside_to_itself() -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("secret detail")

    done = Done(SPEC, parts(objective=broken))
    assert done.run.state is RunState.FAILED
    assert done.run.reason == "internal error (ZeroDivisionError); see the worker's log"


# -- mentors ----------------------------------------------------------------------------------


class Scripted:
    """Answers as told, and remembers what it was told."""

    def __init__(self, *answers: AnswerStatus | Sequence[Proposal]) -> None:
        self.wants = Wants()
        self.answers = list(answers)
        self.requests: list[ProposalRequest] = []
        self.batches: list[Batch] = []
        self.outcomes: list[Outcomes] = []
        self.closed = False

    def wait_open(self, timeout: float) -> bool:
        return True

    def observe(self, batch: Batch) -> None:
        self.batches.append(batch)

    def report(self, outcomes: Outcomes) -> None:
        self.outcomes.append(outcomes)

    def cancel(self) -> None: ...

    def close(self) -> None:
        self.closed = True

    def propose(
        self, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> Answer:
        assert incumbent.candidate.candidate_id == request.incumbent_id
        self.requests.append(request)
        told = self.answers.pop(0)
        if isinstance(told, AnswerStatus):
            return Answer(request.request_id, told, detail="as told")
        return Answer(request.request_id, AnswerStatus.USABLE, tuple(told))


def with_mentor(mentor: Scripted, spec: RunSpec = SPEC) -> Done:
    return Done(spec, parts(mentor=lambda run, objective: mentor))


def test_the_mentor_is_shown_the_run_and_told_what_became_of_its_proposals() -> None:
    points = [
        Proposal("a", "0.1 0.1"),
        Proposal("b", "0.1 0.1"),
        Proposal("c", ""),
        Proposal("d", "far out"),
        Proposal("e", "9 9"),
        Proposal("f", "1 2 3"),
        Proposal("g", values=(2.0, 2.0)),
    ]
    mentor = Scripted(points)
    done = with_mentor(mentor, dataclasses.replace(SPEC, stages=Stages(2, 15, 3)))
    assert done.run.state is RunState.SUCCEEDED
    (told,) = mentor.outcomes
    (decided,) = done.all(RestartDecided)
    assert told == Outcomes("s0", decided.outcomes)
    assert {o.proposal_id: o.status for o in told.outcomes} == {
        "a": ProposalStatus.APPLIED,
        "b": ProposalStatus.DUPLICATE,
        "c": ProposalStatus.EMPTY,
        "d": ProposalStatus.MALFORMED,
        "e": ProposalStatus.OUT_OF_BOUNDS,
        "f": ProposalStatus.MALFORMED,
        "g": ProposalStatus.LOST,
    }
    assert all(o.detail for o in told.outcomes if o.score is None)
    shown = [s.step for batch in mentor.batches for s in batch.snapshots]
    assert shown == list(range(1, 31))
    assert {c.candidate_id for b in mentor.batches for c in b.candidates} == {
        c.candidate_id for c in done.candidates()
    }
    assert mentor.closed


@pytest.mark.slow
def test_the_same_seed_asks_the_same_questions() -> None:
    asked = []
    for _ in range(2):
        mentor = Scripted(*[[Proposal("", "1 1")]] * 3)
        with_mentor(mentor)
        asked.append(mentor.requests)
    assert asked[0] == asked[1]
    assert [r.request_id for r in asked[0]] == ["s0", "s1", "s2"]
    assert len({r.seed for r in asked[0]}) == 3


def test_an_outage_is_logged_and_the_run_goes_on() -> None:
    mentor = Scripted(AnswerStatus.UNAVAILABLE, AnswerStatus.TIMED_OUT, [Proposal("x", "0 0")])
    done = with_mentor(mentor)
    assert done.run.state is RunState.SUCCEEDED
    assert [lost.reason for lost in done.all(MentorLost)] == ["unavailable: as told"]
    assert len(done.all(MentorBack)) == 1
    reasons = [decided.reason for decided in done.all(RestartDecided)]
    assert reasons[:2] == ["no usable answer: unavailable", "no usable answer: timed_out"]
    assert [d.restarted for d in done.all(RestartDecided)] == [False, False, True]
    usage = done.run.usage
    assert (usage.mentor_calls, usage.usable_answers, usage.fallbacks) == (3, 1, 0)


def test_the_fallback_proposes_when_the_mentor_does_not() -> None:
    mentor = Scripted(*[AnswerStatus.UNUSABLE] * 3)
    choice = MentorChoice("random_tokens", proposals=4, fallback=Fallback.RANDOM_TOKENS)
    done = with_mentor(mentor, dataclasses.replace(SPEC, mentor=choice))
    received = done.all(ProposalsReceived)
    assert [r.is_fallback for r in received] == [False, True] * 3
    assert [len(r.answer.proposals) for r in received] == [0, 4] * 3
    assert done.run.usage.fallbacks == 3
    assert all(len(decided.branches) == 4 for decided in done.all(RestartDecided))
    # The mentor is not told about what it did not propose.
    assert mentor.outcomes == []
    assert done.all(MentorLost) == []


# -- words ------------------------------------------------------------------------------------


class Worded(NumberLanguage):
    """Points whose words are their coordinates in whole numbers."""

    has_words = True

    def project(self, parameters: torch.Tensor) -> list[Projected]:
        near = parameters.detach().round()
        gaps = (parameters.detach() - near).abs().mean(-1).tolist()
        ids = [tuple(map(int, point)) for point in near.tolist()]
        return [Projected(" ".join(map(str, i)), i, gap) for i, gap in zip(ids, gaps, strict=True)]

    def embed_ids(self, ids: Sequence[int], incumbent: torch.Tensor) -> torch.Tensor:
        return torch.tensor(ids, dtype=torch.float32)


def test_every_text_is_scored_once_and_the_gap_can_be_told() -> None:
    def objective(spec: RunSpec, check: Any) -> Any:
        language = Worded(2, -5.12, 5.12, torch.device("cpu"))
        return dataclasses.replace(function("rastrigin", 2), language=language)

    done = Done(SPEC, parts(objective=objective))
    assert done.run.state is RunState.SUCCEEDED
    candidates = done.candidates()
    known = {c.candidate_id: c for c in candidates}
    words = [c for c in candidates if c.source is CandidateSource.PROJECTION]
    for stage in range(4):
        # The start of the run is scored apart from its first stage.
        texts = [c.text for c in words if c.stage == stage and "start" not in c.candidate_id]
        assert len(set(texts)) == len(texts) > 0
    for projection in words:
        (parent,) = projection.parents
        assert known[parent].text == projection.text
        assert projection.candidate_id == f"{parent}/words"
    # A stage's last snapshot always has its words beside it.
    assert {f"s{i}/step{15 * (i + 1)}/words" for i in range(4)} <= set(known)
    scored = [c for c in candidates if not (c.candidate_id.endswith("/start") and c.stage)]
    races = sum(len(d.branches) for d in done.all(RestartDecided))
    assert done.run.usage.evaluations == len(scored) + races


def test_segments_say_what_the_run_had_cost_by_then() -> None:
    done = usual()
    costs = [(part.forward_rows, part.train_time) for part in done.all(Segment)]
    times = [time for _, time in costs if time is not None]
    assert len(times) == len(costs)
    assert costs == sorted(costs)
    assert 0 < costs[0][0] <= costs[-1][0] <= done.run.usage.forward_rows
    assert times[-1] <= done.run.usage.train_time
