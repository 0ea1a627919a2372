"""Cancels, finishes, pauses and resumes runs, following the table of allowed state transitions."""

from __future__ import annotations

from mentorgrad.domain.run import DesiredState, Run, RunState
from mentorgrad.errors import Conflict, PreconditionFailed
from run_store.protocols import RunStore

_ATTEMPTS = 5


def cancel(store: RunStore, run_id: str) -> Run:
    """Cancels a run: at once if no worker has it, otherwise through its worker.

    Raises:
        NotFound: No such run.
        PreconditionFailed: It has ended already (TRANSITION_FORBIDDEN).
    """
    return _request_state(
        store, run_id, DesiredState.CANCEL, RunState.CANCELLED, "cancelled on request"
    )


def finish(store: RunStore, run_id: str) -> Run:
    """Has a running run's worker end it early, with a result.

    Raises:
        NotFound: No such run.
        PreconditionFailed: It is not running (TRANSITION_FORBIDDEN).
    """
    return store.set_desired(run_id, DesiredState.FINISH)


def pause(store: RunStore, run_id: str) -> Run:
    """Pauses a run: takes it from the queue, or has its worker save a checkpoint and stop.

    Raises:
        NotFound: No such run.
        PreconditionFailed: Its state forbids it (TRANSITION_FORBIDDEN).
    """
    return _request_state(store, run_id, DesiredState.PAUSE, RunState.PAUSED, "paused on request")


def resume(store: RunStore, run_id: str, *, max_queued: int | None = None) -> Run:
    """Queues a paused or interrupted run again.

    Raises:
        ResourceExhausted: There is no room in the queue.
        NotFound: No such run.
        PreconditionFailed: Its state forbids it (TRANSITION_FORBIDDEN).
    """
    return store.transition(run_id, RunState.QUEUED, "resumed on request", max_queued=max_queued)


def _request_state(
    store: RunStore, run_id: str, desired: DesiredState, state: RunState, reason: str
) -> Run:
    """Requests a state. A worker may claim or leave the run between the read and the write; the
    call then retries."""
    for _ in range(_ATTEMPTS - 1):
        run = store.get_run(run_id)
        try:
            if run.state is RunState.RUNNING:
                return store.set_desired(run_id, desired)
            return store.transition(run_id, state, reason, attempt=run.attempt)
        except Conflict:
            continue
        except PreconditionFailed:
            if store.get_run(run_id).state is run.state:
                raise
    return store.transition(run_id, state, reason)
