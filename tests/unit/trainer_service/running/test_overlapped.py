"""Steps go on while the mentor thinks; its answer is applied where the run is by then."""

from __future__ import annotations

import dataclasses
import signal
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
import torch

from mentorgrad.domain.advice import (
    Answer,
    AnswerStatus,
    Batch,
    Outcomes,
    Proposal,
    ProposalRequest,
    Wants,
)
from mentorgrad.domain.event import (
    CandidatesScored,
    Created,
    MentorLost,
    ProposalsReceived,
    RestartDecided,
    Segment,
    StageStarted,
)
from mentorgrad.domain.objective import Function
from mentorgrad.domain.query import EventQuery
from mentorgrad.domain.run import Run, RunState, Score
from mentorgrad.domain.spec import (
    Acceptance,
    Budget,
    Fallback,
    MentorChoice,
    MentorMode,
    Optimizer,
    Policy,
    RunSpec,
    Stages,
)
from tests.support.numerics import function
from tests.unit.trainer_service.running.test_alternation import shared_store
from trainer_service.costs import RowCosts
from trainer_service.job import WorkerJob
from trainer_service.objectives.function.problem import FunctionProblem, rastrigin
from trainer_service.protocols import Mentor, Objective, Scored
from trainer_service.run_composition import run_parts
from trainer_service.running.execution import Parts, execute
from trainer_service.running.stop_control import StopKind, StopRequest

CHOICE = MentorChoice("small", proposals=4, mode=MentorMode.OVERLAPPED)
SPEC = RunSpec(
    objective=Function("rastrigin", 2),
    optimizer=Optimizer(learning_rate=0.05),
    stages=Stages(count=3, steps=15, candidates=3),
    mentor=CHOICE,
    acceptance=Acceptance(finalists=2, probe_steps=4),
    seed=5,
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class Points:
    """Proposes points that depend on the request, or says what it is told to."""

    def __init__(self, status: AnswerStatus = AnswerStatus.USABLE) -> None:
        self.wants = Wants()
        self.status = status
        self.requests: list[ProposalRequest] = []
        self.told: list[Outcomes] = []
        self.cancelled = threading.Event()

    def wait_open(self, timeout: float) -> bool:
        return True

    def observe(self, batch: Batch) -> None: ...

    def report(self, outcomes: Outcomes) -> None:
        self.told.append(outcomes)

    def cancel(self) -> None:
        self.cancelled.set()

    def close(self) -> None:
        self.cancel()

    def propose(
        self, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> Answer:
        self.requests.append(request)
        if self.status is not AnswerStatus.USABLE:
            return Answer(request.request_id, self.status, detail="as told")
        draw = torch.Generator().manual_seed(request.seed)
        points = (2 * torch.rand(4, 2, generator=draw)).tolist()
        proposals = tuple(Proposal("", values=tuple(point)) for point in points)
        return Answer(request.request_id, AnswerStatus.USABLE, proposals)


class AfterSteps:
    """A question that is answered when so many steps were taken; 0: at once."""

    def __init__(self, lag: int, propose: Callable[[], Answer]) -> None:
        self._lag = lag
        self._propose = propose

    def is_answered(self, lag: int) -> bool:
        return lag >= self._lag

    def answer(self) -> Answer:
        return self._propose()


def parts(mentor: Mentor, lag: int | None = None, **changes: Any) -> Parts:
    made = run_parts(WorkerJob(run_id="-", store="-"))
    if lag is not None:
        changes["ask"] = lambda asked, *question: AfterSteps(lag, lambda: asked.propose(*question))
    return dataclasses.replace(made, mentor=lambda run, objective: mentor, **changes)


class Done:
    """A run that was executed, and its log."""

    def __init__(self, spec: RunSpec, how: Parts, stopper: StopRequest | None = None) -> None:
        self.store = shared_store()
        created, _ = self.store.create(Created(spec=spec))
        lease = self.store.claim(created.run_id, "test", timedelta(seconds=60))
        self.state = execute(self.store, created, lease, how, stopper or StopRequest())
        self.run_id = created.run_id

    @property
    def run(self) -> Run:
        return self.store.get_run(self.run_id)

    def all(self, kind: type) -> list[Any]:
        events = self.store.events(self.run_id, EventQuery())
        return [event.payload for event in events if isinstance(event.payload, kind)]

    def received(self) -> list[tuple[str, AnswerStatus, int]]:
        return [
            (event.answer.request_id, event.answer.status, event.lag_steps)
            for event in self.all(ProposalsReceived)
        ]


# -- where and when an answer is applied ------------------------------------------------------


def test_the_answer_is_applied_to_where_the_run_is_by_then() -> None:
    mentor = Points()
    done = Done(SPEC, parts(mentor, lag=6))
    assert done.state is RunState.SUCCEEDED
    assert [(s.stage, s.step) for s in done.all(StageStarted)] == [(0, 0), (1, 21), (2, 42)]
    assert done.received() == [("s0", AnswerStatus.USABLE, 6), ("s1", AnswerStatus.USABLE, 6)]
    steps = [s.step for segment in done.all(Segment) for s in segment.snapshots]
    assert steps == list(range(1, 46)), "the trajectory goes on, and is as long as without a mentor"
    # Asked about the stage's snapshot of then, decided against the one of now.
    assert [r.incumbent_id for r in mentor.requests] == ["s0/step15", "s1/step36"]
    decided = done.all(RestartDecided)
    assert [d.incumbent_id for d in decided] == ["s0/step21", "s1/step42"]
    assert all(len(d.branches) == 3 and len(d.outcomes) == 4 for d in decided)
    assert mentor.told == [Outcomes(f"s{i}", d.outcomes) for i, d in enumerate(decided)]
    scored = {c.candidate_id: c for p in done.all(CandidatesScored) for c in p.candidates}
    assert decided[0].branches[0].loss_before == scored["s0/step21"].score.loss
    usage = done.run.usage
    assert usage.lag_steps == 12
    assert usage.gradient_steps == 45 + usage.probe_steps
    assert usage.mentor_time == timedelta(0), "nobody waited"


def test_a_lag_counts_against_the_budget_as_every_step_does() -> None:
    spec = dataclasses.replace(SPEC, budget=Budget(gradient_steps=80, evaluations=50))
    done = Done(spec, parts(Points(), lag=10))
    usage = done.run.usage
    assert (usage.gradient_steps, usage.lag_steps) == (80, 20)
    assert usage.evaluations <= 50
    assert usage.probe_steps == 2 * 3 * 4


def test_an_answer_that_is_there_at_once_decides_as_if_waited_for() -> None:
    waiting = dataclasses.replace(
        SPEC, mentor=dataclasses.replace(CHOICE, mode=MentorMode.BLOCKING)
    )
    overlapped, blocking = Done(SPEC, parts(Points(), lag=0)), Done(waiting, parts(Points()))
    for kind in (CandidatesScored, RestartDecided, StageStarted):
        ours, theirs = overlapped.all(kind), blocking.all(kind)
        if kind is not StageStarted:
            ours = [dataclasses.replace(event, usage=None) for event in ours]
            theirs = [dataclasses.replace(event, usage=None) for event in theirs]
        assert ours == theirs
    assert overlapped.received() == blocking.received()


def test_a_control_answers_before_there_is_a_lag() -> None:
    choice = MentorChoice("perturb", proposals=4, mode=MentorMode.OVERLAPPED)
    done = Done(dataclasses.replace(SPEC, mentor=choice), run_parts(WorkerJob("-", store="-")))
    assert [lag for _, _, lag in done.received()] == [0, 0]


def test_a_restart_goes_on_from_the_proposal_blended_with_the_present_point() -> None:
    rule = Acceptance(policy=Policy.ALWAYS, blend=0.5)
    done = Done(dataclasses.replace(SPEC, acceptance=rule), parts(Points(), lag=5))
    scored = {c.candidate_id: c for p in done.all(CandidatesScored) for c in p.candidates}

    def point(text: str) -> torch.Tensor:
        return torch.tensor([float(number) for number in text.split()])

    decided, started = done.all(RestartDecided)[0], done.all(StageStarted)[1]
    mixed = (point(scored[decided.chosen_id].text) + point(scored["s0/step20"].text)) / 2
    torch.testing.assert_close(point(started.text), mixed, atol=2e-3, rtol=0)


# -- answers that come late, or never ---------------------------------------------------------


def test_an_answer_that_comes_too_late_is_given_up_and_said_to_be() -> None:
    done = Done(SPEC, parts(Points(), lag=1000))
    assert done.state is RunState.SUCCEEDED
    assert done.received() == [("s0", AnswerStatus.CANCELLED, 30)]
    assert done.all(RestartDecided) == []
    assert [s.stage for s in done.all(StageStarted)] == [0]
    names = [c.candidate_id for p in done.all(CandidatesScored) for c in p.candidates]
    assert names[-3:] == ["s0/step25", "s0/step35", "s0/step45"], "the run's end is scored"
    usage = done.run.usage
    assert (usage.gradient_steps, usage.mentor_calls, usage.usable_answers) == (45, 1, 0)


def of_problem(problem: FunctionProblem) -> Objective:
    """Rastrigin's function, evaluated by a problem of the test's own."""
    return dataclasses.replace(function("rastrigin", 2), problem=problem)


class Stopped(FunctionProblem):
    """A scoring of the given number is cut short by a pause."""

    def __init__(self, stopper: StopRequest, scoring: int) -> None:
        super().__init__(rastrigin, 2, torch.device("cpu"), RowCosts())
        self._stopper, self._left = stopper, scoring

    def score(self, points: torch.Tensor, rows: torch.Tensor | None = None) -> list[Score]:
        self._left -= 1
        if self._left == 0:
            self._stopper.request(StopKind.PAUSE)
            self._stopper.check()
        return super().score(points, rows)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "lag"), [(6, 6), (6, 1000), (1000, 1000)])
def test_a_stop_while_the_present_point_is_scored_loses_no_candidate(first: int, lag: int) -> None:
    """The third scoring: of where the answer came, or of the run's end where none did."""
    whole = Done(SPEC, parts(Points(), lag))
    stopper = StopRequest()
    how = parts(Points(), first, objective=lambda *_: of_problem(Stopped(stopper, 3)))
    done = Done(SPEC, how, stopper)
    assert done.state is RunState.PAUSED
    done.store.transition(done.run_id, RunState.QUEUED)
    before = done.run
    lease = done.store.claim(done.run_id, "test", timedelta(seconds=60))
    assert execute(done.store, before, lease, parts(Points(), lag), StopRequest()) is done.run.state
    assert done.run.state is RunState.SUCCEEDED
    names, expected = (
        [c.candidate_id for p in run.all(CandidatesScored) for c in p.candidates]
        for run in (done, whole)
    )
    assert names == expected
    assert done.received() == whole.received()


def test_late_answers_leave_room_for_fewer_questions() -> None:
    done = Done(SPEC, parts(Points(), lag=20))
    assert [(s.stage, s.step) for s in done.all(StageStarted)] == [(0, 0), (1, 35)]
    assert [name for name, _, _ in done.received()] == ["s0"]
    assert done.run.step == 45


def test_a_lost_mentor_is_said_so_and_stood_in_for_where_the_run_is_by_then() -> None:
    choice = dataclasses.replace(CHOICE, fallback=Fallback.RANDOM_TOKENS)
    spec = dataclasses.replace(SPEC, mentor=choice)
    done = Done(spec, parts(Points(AnswerStatus.TIMED_OUT), lag=7))
    events = done.all(ProposalsReceived)
    assert [(e.is_fallback, e.lag_steps) for e in events] == [(False, 7), (True, 0)] * 2
    assert [lost.reason for lost in done.all(MentorLost)] == ["timed_out: as told"]
    decided = done.all(RestartDecided)
    assert [d.incumbent_id for d in decided] == ["s0/step22", "s1/step44"]
    assert all(len(d.branches) == 3 for d in decided)
    assert done.run.usage.fallbacks == 2


def test_nothing_is_asked_when_the_answer_could_not_be_weighed() -> None:
    # The start, three candidates, and as many again for the end.
    spec = dataclasses.replace(SPEC, budget=Budget(evaluations=1 + 3 + 3 + 1))
    mentor = Points()
    done = Done(spec, parts(mentor, lag=3))
    assert done.state is RunState.SUCCEEDED
    assert mentor.requests == []
    assert done.all(RestartDecided)[0].reason.startswith("not asked")


# -- with a thread that really waits ----------------------------------------------------------


class Counted(FunctionProblem):
    """Calls back before a gradient step, by its number."""

    def __init__(self, at_step: dict[int, Callable[[], None]]) -> None:
        super().__init__(rastrigin, 2, torch.device("cpu"), RowCosts())
        self._at_step = at_step
        self.steps = 0

    def gradients(
        self, points: torch.Tensor, rows: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.steps += 1
        self._at_step.get(self.steps, lambda: None)()
        return super().gradients(points, rows)


class Thinking(Points):
    """Thinks until it is told to answer, or cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.may_answer, self.answered = (threading.Event() for _ in range(3))

    def propose(
        self, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> Answer:
        self.asked.set()
        while not self.may_answer.wait(0.01):
            if self.cancelled.is_set():
                return Answer(request.request_id, AnswerStatus.CANCELLED, detail="as told")
        answer = super().propose(request, incumbent, pool)
        self.answered.set()
        return answer


@pytest.mark.slow
def test_steps_are_taken_while_the_mentor_thinks() -> None:
    mentor = Thinking()

    def answer() -> None:
        assert mentor.asked.wait(120)
        mentor.may_answer.set()
        assert mentor.answered.wait(120)

    spec = dataclasses.replace(SPEC, stages=Stages(count=2, steps=40, candidates=3))
    # A run that waited would never come to the step that lets the mentor answer.
    done = Done(spec, parts(mentor, objective=lambda *_: of_problem(Counted({50: answer}))))
    assert done.state is RunState.SUCCEEDED
    ((name, status, lag),) = done.received()
    assert (name, status) == ("s0", AnswerStatus.USABLE)
    assert 10 <= lag < 40
    assert done.all(StageStarted)[1].step == 40 + lag
    assert done.run.usage.lag_steps == lag


@pytest.mark.parametrize(
    ("kind", "state"),
    [(StopKind.PAUSE, RunState.PAUSED), (StopKind.CANCEL, RunState.CANCELLED)],
)
def test_a_stop_does_not_wait_for_an_answer(kind: StopKind, state: RunState) -> None:
    mentor, stopper = Thinking(), StopRequest()
    counted = Counted({20: lambda: stopper.request(kind)})
    done = Done(SPEC, parts(mentor, objective=lambda *_: of_problem(counted)), stopper)
    assert (done.state, counted.steps) == (state, 20)
    assert mentor.cancelled.is_set()
    assert done.received() == [], "an answer cut off by a stop is none"


@pytest.mark.slow
def test_a_mentor_process_that_hangs_holds_nothing_up(
    mentor_process: Callable[..., Any],
) -> None:
    process = mentor_process()
    job = WorkerJob("-", store="-", mentors={"small": process.address})

    def hang() -> None:
        process.signal(signal.SIGSTOP)

    how = dataclasses.replace(run_parts(job), objective=lambda *_: of_problem(Counted({10: hang})))
    done = Done(SPEC, how)
    assert done.state is RunState.SUCCEEDED
    assert done.run.usage.gradient_steps >= 45
    assert done.received()[-1][1] is AnswerStatus.CANCELLED
