"""Executes one claimed run: from the spec or its last checkpoint to a recorded end."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

import structlog

from mentorgrad.domain.event import (
    EventKind,
    Finished,
    ProposalsReceived,
    Resumed,
    StateChanged,
)
from mentorgrad.domain.query import EventQuery
from mentorgrad.domain.run import Run, RunResult, RunState
from mentorgrad.domain.spec import Fallback, RunSpec
from mentorgrad.errors import MentorgradError
from run_store.protocols import Lease, RunStore
from trainer_service.mentors.fallback import FallbackMentor
from trainer_service.mentors.pending_requests import SendRequest, ThreadedRequest
from trainer_service.protocols import Mentor, Objective, Optimizer
from trainer_service.running import checkpoint
from trainer_service.running.alternation import Alternation
from trainer_service.running.checkpoint import CheckpointWriter
from trainer_service.running.loop_state import LoopState
from trainer_service.running.recorder import Recorder, StoreOutagePolicy
from trainer_service.running.stop_control import GuardedStopControl, Stop, StopControl, StopKind
from trainer_service.running.telemetry import Telemetry

log = structlog.get_logger(__name__)

SESSION_SECONDS = 5.0
"""How long a run waits for its mentor's first session; it begins without one after that."""
_SLICE = 0.1
"""Seconds of that wait between two looks at whether the run is to stop."""


@dataclass(frozen=True)
class Parts:
    """What a run is put together from."""

    objective: Callable[[RunSpec, Callable[[], None]], Objective]
    """Builds the objective; what takes long calls the second argument between its parts, which
    raises `Stop` when the run is to stop."""
    mentor: Callable[[Run, Objective], Mentor]
    """Opens the mentor or control that the spec names."""
    fallback: Callable[[Fallback, Objective], Mentor | None]
    """Builds what stands in for a lost mentor."""
    optimizer: Callable[[RunSpec], Optimizer]
    """Builds a fresh optimizer."""
    ask: SendRequest = ThreadedRequest
    """Puts a question that the run does not wait for."""
    clock: Callable[[], float] = time.monotonic
    """Seconds."""


_STOPPED = {
    StopKind.AWAY: (RunState.PAUSED, ""),
    StopKind.CANCEL: (RunState.CANCELLED, "cancelled on request"),
    StopKind.PAUSE: (RunState.PAUSED, "paused on request"),
    StopKind.INTERRUPT: (RunState.INTERRUPTED, "the service shut down"),
}


def execute(
    store: RunStore,
    run: Run,
    lease: Lease,
    parts: Parts,
    control: StopControl,
    outage_policy: StoreOutagePolicy | None = None,
    telemetry: Telemetry | None = None,
) -> RunState:
    """Executes a claimed run and records how it ended.

    Args:
        store: Where it is recorded.
        run: As it stood before it was claimed.
        lease: From `claim`.
        parts: What it is put together from.
        control: Says when to stop.
        outage_policy: How long the store may be away, and what may wait for it.
        telemetry: Watches.

    Returns:
        The state it was left in; RUNNING when the lease was lost and nothing could be recorded.

    Raises:
        MentorgradError: Not all could be recorded: the run is another's by now, or the process was
            to end and the store was away.
    """
    # The mentor is closed when everything is recorded: one that hangs may take seconds to.
    telemetry = telemetry or Telemetry()
    with (
        Recorder(store, lease, outage_policy, stored=telemetry.stored) as recorder,
        ExitStack() as opened,
    ):
        telemetry.store_waiting = recorder.waited
        try:
            guarded = GuardedStopControl(control, recorder.check)
            state = _run(store, run, lease, parts, guarded, recorder, telemetry, opened)
        except Stop as stop:
            kind = _latest(control, stop)
            if kind is StopKind.LOST:
                return RunState.RUNNING
            state, reason = _STOPPED[kind]
            recorder.put(StateChanged(state, reason or recorder.overdue))
        except Exception as error:
            log.error("run_failed", run_id=run.run_id, exc_info=error)
            state = RunState.FAILED
            recorder.put(Finished(state, None, failure_line(error)))
        with telemetry.waiting():
            recorder.flush()
        return state


def _latest(control: StopControl, stop: Stop) -> StopKind:
    """What is wanted by now: a cancel may have followed the pause that is being saved."""
    try:
        control.check()
    except Stop as later:
        return later.kind
    return stop.kind


def failure_line(error: BaseException) -> str:
    """One readable line for the log; a defect of ours says no more than its kind."""
    if isinstance(error, MentorgradError):
        return error.message.splitlines()[0] if error.message else error.reason
    if "out of memory" in str(error).lower():
        return "the device ran out of memory; try a smaller batch or fewer candidates"
    return f"internal error ({type(error).__name__}); the worker's log says more"


def _run(
    store: RunStore,
    run: Run,
    lease: Lease,
    parts: Parts,
    control: StopControl,
    recorder: Recorder,
    telemetry: Telemetry,
    opened: ExitStack,
) -> RunState:
    spec = run.spec
    control.check()
    with telemetry.waiting():
        objective = parts.objective(spec, control.check)
    control.check()  # that may have taken seconds
    seq, at, moments, known = recorder.read(
        lambda: checkpoint.find(store, run.run_id, spec.budget, objective.device), control.check
    )
    logged: dict[str, ProposalsReceived] = {}
    if lease.attempt > 1:
        logged = recorder.read(lambda: _logged_answers(store, run.run_id), control.check)
        recorder.put(Resumed(seq, run.reason))
    mentor = FallbackMentor(
        spec.mentor.name,
        telemetry.watch(spec.mentor.name, parts.mentor(run, objective)),
        parts.fallback(spec.mentor.fallback, objective),
        logged,
        parts.ask,
    )
    opened.callback(mentor.close)
    control.on_stop(mentor.cancel)
    _await_session(mentor, control)
    checkpoints = CheckpointWriter(recorder, lease.attempt, known)
    alternation = Alternation(
        spec,
        objective,
        mentor,
        lambda: parts.optimizer(spec),
        recorder,
        checkpoints,
        control,
        clock=parts.clock,
    )
    if at is None:
        at = alternation.begin()
    else:
        telemetry.go_on(at.ledger.usage, at.step)
        alternation.go_on(at, moments)
    try:
        alternation.run(at)
    except Stop as stop:
        if stop.kind in (StopKind.AWAY, StopKind.PAUSE, StopKind.INTERRUPT):
            alternation.checkpoint(at)
        raise
    result = _result(objective, at)
    for name, content in objective.artifacts(at.best.parameters).items():
        recorder.blob(name, content)
    result = replace(result, usage=alternation.usage(at))
    recorder.put(Finished(RunState.SUCCEEDED, result))
    return RunState.SUCCEEDED


def _await_session(mentor: FallbackMentor, control: StopControl) -> None:
    """Waits for the first session, so that what the mentor wants is known before there is anything
    to send; stops at once when the run is to stop."""
    deadline = time.monotonic() + SESSION_SECONDS
    while not mentor.wait_open(_SLICE) and time.monotonic() < deadline:
        control.check()


def _result(objective: Objective, at: LoopState) -> RunResult:
    """The best candidate of the whole run, and the only look at *test*."""
    baseline = objective.baseline()
    return RunResult(
        returned=at.best.candidate,
        test=objective.test(at.best.parameters),
        zero_shot=baseline.zero_shot,
        majority_accuracy=baseline.majority_accuracy,
        restarts_applied=at.restarts,
    )


def _logged_answers(store: RunStore, run_id: str) -> dict[str, ProposalsReceived]:
    """Answers of the mentor in the log, superseded ones too: none is asked for twice.

    A control's raw parameters are not logged, so it draws them again, from the same seed.
    """
    query = EventQuery(kinds=(EventKind.PROPOSALS_RECEIVED,))
    return {
        event.payload.answer.request_id: event.payload
        for event in store.events(run_id, query)
        if isinstance(event.payload, ProposalsReceived)
        and not event.payload.is_fallback
        and all(proposal.text or proposal.values for proposal in event.payload.answer.proposals)
    }
