"""Executes one claimed run: starts from the spec or the last checkpoint, and records the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import structlog

from mentorgrad.domain.advice import Proposal
from mentorgrad.domain.event import (
    EventKind,
    Finished,
    ProposalsReceived,
    Resumed,
    StateChanged,
)
from mentorgrad.domain.query import EventQuery
from mentorgrad.domain.run import Run, RunState
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import MentorgradError, PreconditionFailed
from run_store.protocols import Lease, RunStore
from trainer_service.encoding.memory import OUT_OF_MEMORY, is_lack_of_memory
from trainer_service.mentors.fallback import FallbackMentor
from trainer_service.mentors.pending_requests import SendRequest, ThreadedRequest
from trainer_service.objectives.model_file import with_run
from trainer_service.objectives.torch_free import MODEL_FILE
from trainer_service.protocols import Mentor, Objective, Optimizer
from trainer_service.running import checkpoint
from trainer_service.running.alternation import Alternation
from trainer_service.running.budget import run_prices
from trainer_service.running.capture import DIVERGED
from trainer_service.running.checkpoint import CheckpointWriter
from trainer_service.running.final_test import final_result
from trainer_service.running.loop_state import LoopState
from trainer_service.running.recorder import Recorder, StoreOutagePolicy
from trainer_service.running.stop_control import (
    DEVICE_LOST,
    DEVICES_CHANGED,
    MODEL_AWAY,
    MODEL_CHANGED,
    GuardedStopControl,
    Stop,
    StopControl,
    StopKind,
    check_within,
    prevailing,
)
from trainer_service.running.telemetry import Telemetry

log = structlog.get_logger(__name__)

SESSION_SECONDS = 5.0
"""How long a run waits for its mentor's first session before it starts without one."""
_SLICE = 0.1
"""Seconds of that wait between two checks for a stop request."""


@dataclass(frozen=True)
class Parts:
    """Factories of the parts of a run."""

    objective: Callable[[RunSpec, Callable[[], None]], Objective]
    """Builds the objective. Slow builds call the second argument from time to time; it raises
    `Stop` if the run must stop."""
    mentor: Callable[[Run, Objective], Mentor]
    """Opens the mentor or control that the spec names."""
    fallback: Callable[[RunSpec, Objective], Mentor | None]
    """Builds the fallback for a mentor that gives no usable answer."""
    optimizer: Callable[[RunSpec], Optimizer]
    """Builds a fresh optimizer."""
    fetch: Callable[[RunSpec], None] = lambda spec: None
    """Copies from the store what the objective is built from; repeated while the store is away."""
    taken: Callable[[], Mapping[str, bytes]] = dict
    """What the objective was built from and a resumed run needs again, as files of the run."""
    ask: SendRequest = ThreadedRequest
    """Sends a request in overlapped mode, without waiting for the answer."""
    clock: Callable[[], float] = time.monotonic
    """Monotonic time in seconds."""
    has_devices: Callable[[], bool] = lambda: True
    """Whether the run's devices still answer; asked after an error, and may take seconds."""


_PAUSING = (DEVICES_CHANGED, MODEL_AWAY, MODEL_CHANGED)
"""Reasons of errors that pause a run: what it needs may come back."""
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
        store: The run store.
        run: The run before it was claimed.
        lease: The lease from `claim`.
        parts: Factories of the run's parts.
        control: Stop requests.
        outage_policy: How long the store may be unavailable, and how much may wait for it.
        telemetry: Collects metrics and traces.

    Returns:
        The recorded state of the run; RUNNING if the lease was lost and nothing could be recorded.

    Raises:
        MentorgradError: Not everything could be recorded: another worker owns the run by now, or
            the process had to exit while the store was unavailable.
    """
    # The mentor is closed after everything is recorded: closing a hanging one may take seconds.
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
            ended = _ended_by(error, run, parts)
            state = ended.state
            recorder.put(ended)
        with telemetry.waiting():
            recorder.flush()
        return state


def _ended_by(error: Exception, run: Run, parts: Parts) -> StateChanged | Finished:
    """How an error ends the run. The last checkpoint applies if it can go on: the error may have
    come in the middle of a stage."""
    line = failure_line(error, run.spec)
    if isinstance(error, MentorgradError) and error.reason in _PAUSING:
        log.warning("run_paused", run_id=run.run_id, reason=error.message)
        return StateChanged(RunState.PAUSED, line)
    if not _is_lack(error) and not parts.has_devices():
        log.error("device_lost", run_id=run.run_id, exc_info=error)
        return StateChanged(RunState.INTERRUPTED, DEVICE_LOST)
    log.error("run_failed", run_id=run.run_id, exc_info=error)
    return Finished(RunState.FAILED, None, line)


def _is_lack(error: Exception) -> bool:
    return is_lack_of_memory(error) or getattr(error, "reason", "") == OUT_OF_MEMORY


def _latest(control: StopControl, stop: Stop) -> StopKind:
    """The present stop request: a cancel may have followed the pause that is being saved."""
    try:
        control.check()
    except Stop as later:
        return prevailing([stop.kind, later.kind])
    return stop.kind


def failure_line(error: BaseException, spec: RunSpec) -> str:
    """The failure reason of a run, in one line. An internal error shows only its exception type."""
    if isinstance(error, MentorgradError):
        error = error.told or error
        return error.message.splitlines()[0] if error.message else error.reason
    if is_lack_of_memory(error):
        return f"not enough memory; {_smaller(spec)}"
    return f"internal error ({type(error).__name__}); see the worker's log"


def _smaller(spec: RunSpec) -> str:
    """What to change in a spec whose run needs too much memory."""
    batch, choice = spec.optimizer.batch_size, spec.mentor
    changes = []
    if batch > 1 and not spec.optimizer.automatic_batch_size:
        changes = ["spec.optimizer.automatic_batch_size = true"]
        changes.append(f"spec.optimizer.batch_size = {batch // 2}")
    if choice.name != "none" and choice.proposals > 1:
        changes.append(f"fewer than {choice.proposals} for spec.mentor.proposals")
    return f"try {' or '.join(changes or ['a smaller model'])}"


def _run(
    store: RunStore,
    run: Run,
    lease: Lease,
    parts: Parts,
    control: GuardedStopControl,
    recorder: Recorder,
    telemetry: Telemetry,
    opened: ExitStack,
) -> RunState:
    spec = run.spec
    control.check()
    with telemetry.waiting():
        recorder.read(lambda: parts.fetch(spec), control.check)
        objective = parts.objective(spec, check_within(control))
    opened.callback(objective.close)
    _require_devices(spec, objective)
    for name, content in parts.taken().items():
        recorder.blob(name, content)
    control.check()  # building the objective may have taken seconds
    problem = objective.problem
    prices = run_prices(spec, problem.costs, problem.task)
    found = checkpoint.NOTHING  # a first attempt has none
    logged: dict[str, ProposalsReceived] = {}
    if lease.attempt > 1:
        found = recorder.read(
            lambda: checkpoint.find(store, run.run_id, spec, prices, objective.device),
            control.check,
        )
        logged = recorder.read(lambda: _logged_answers(store, run.run_id), control.check)
        recorder.put(Resumed(found[0], run.reason))
    _, at, moments, known = found
    mentor = FallbackMentor(
        spec.mentor.name,
        parts.mentor(run, objective),
        parts.fallback(spec, objective),
        logged,
        parts.ask,
        telemetry,
    )
    opened.callback(mentor.close)
    control.on_stop(mentor.cancel)
    with telemetry.waiting():
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
        telemetry.go_on(Run(step=at.step, restarts_applied=at.restarts, usage=at.ledger.usage))
        alternation.go_on(at, moments)

    def finish_early(stop: Stop) -> None:
        log.info("finishing_early", run_id=run.run_id, step=at.step)
        if stop.between_steps:
            alternation.checkpoint(at)

    try:
        with control.finishing(finish_early):
            alternation.run(at)
        finished, files = final_result(objective, at, alternation.usage(at), control.check)
    except Stop as stop:
        kept = (StopKind.AWAY, StopKind.PAUSE, StopKind.INTERRUPT)
        if stop.kind in kept and stop.between_steps:
            alternation.checkpoint(at)
        ends = _latest(control, stop) is StopKind.CANCEL
        if ends:
            control.acknowledge(StopKind.CANCEL)
        _leave_best(ends, objective, at, recorder, run)
        raise
    except MentorgradError as error:
        _leave_best(error.reason == DIVERGED, objective, at, recorder, run)
        raise
    _leave_files(objective, at, recorder, run, files)
    recorder.put(finished)
    return RunState.SUCCEEDED


def _require_devices(spec: RunSpec, objective: Objective) -> None:
    if len(objective.devices) != spec.devices:
        raise PreconditionFailed(
            f"the run needs {spec.devices} devices, and its worker has {len(objective.devices)}: "
            "sums over other shares of the rows would be rounded differently",
            reason=DEVICES_CHANGED,
        )


def _leave_best(
    ends: bool, objective: Objective, at: LoopState, recorder: Recorder, run: Run
) -> None:
    """Stores the files of the best candidate so far, if the run ends like this without a result,
    and if they can be made."""
    try:
        if ends:
            _leave_files(objective, at, recorder, run)
    except (Exception, Stop) as error:
        log.warning("best_not_kept", run_id=run.run_id, exc_info=error)


def _leave_files(
    objective: Objective,
    at: LoopState,
    recorder: Recorder,
    run: Run,
    others: Mapping[str, bytes] | None = None,
) -> None:
    """Stores the files of the best candidate so far, and others."""
    files = objective.export(at.best.parameters) | dict(others or {})
    if MODEL_FILE in files:
        share = -(-at.ledger.prices.batch // run.spec.devices)
        at_once = objective.problem.parts.at_once(share)
        files[MODEL_FILE] = with_run(files[MODEL_FILE], run.run_id, at_once)
    for name, content in files.items():
        recorder.blob(name, content)


def _await_session(mentor: FallbackMentor, control: StopControl) -> None:
    """Waits for the first session, so that `Mentor.wants` is known before anything is sent; raises
    `Stop` if the run must stop."""
    deadline = time.monotonic() + SESSION_SECONDS
    while not mentor.wait_open(_SLICE) and time.monotonic() < deadline:
        control.check()


def _logged_answers(store: RunStore, run_id: str) -> dict[str, ProposalsReceived]:
    """The mentor's answers in the log by request id, including superseded ones, so that no question
    is asked twice.

    Answers of controls with raw parameters are left out: these are not logged, and the control
    draws them again from the same seed.
    """
    query = EventQuery(kinds=(EventKind.PROPOSALS_RECEIVED,))
    return {
        event.payload.answer.request_id: event.payload
        for event in store.events(run_id, query)
        if isinstance(event.payload, ProposalsReceived)
        and not event.payload.is_fallback
        and all(map(_is_written, event.payload.answer.proposals))
    }


def _is_written(proposal: Proposal) -> bool:
    return bool(proposal.text or proposal.values) or proposal.settings is not None
