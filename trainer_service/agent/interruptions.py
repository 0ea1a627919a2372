"""Marks the runs of workers that have ended without recording an end as interrupted."""

from __future__ import annotations

import asyncio

import structlog

from mentorgrad.domain.event import EventKind, StateChanged
from mentorgrad.domain.query import EventQuery
from mentorgrad.domain.run import DesiredState, RunState
from mentorgrad.errors import Conflict, NotFound, PreconditionFailed
from run_store.protocols import RunStore

log = structlog.get_logger(__name__)

DIED = "the worker died"
"""Prefix of the reason of an INTERRUPTED run whose worker ended without recording the end."""


class Interruptions:
    """Marks runs as interrupted. Calls of the store run in threads.

    Args:
        store: The run store.
        max_restarts: How often a run whose worker died is resumed automatically.
    """

    def __init__(self, store: RunStore, max_restarts: int) -> None:
        self._store = store
        self._max_restarts = max_restarts

    async def mark(self, run_id: str, attempt: int, reason: str) -> None:
        """Marks the run as INTERRUPTED if this attempt still owns it.

        A pending cancel or pause request is then fulfilled. A run whose workers died more than
        `max_restarts` times fails.

        Raises:
            Unavailable: The store does not answer.
        """
        try:
            run = await asyncio.to_thread(self._store.get_run, run_id)
            if run.state is not RunState.RUNNING or run.attempt != attempt:
                return
            desired = await asyncio.to_thread(self._store.desired, run_id)
            await self._transition(run_id, RunState.INTERRUPTED, reason, attempt)
            log.warning("run_interrupted", run_id=run_id, attempt=attempt, reason=reason)
            if desired is DesiredState.CANCEL:
                return  # the store has made it CANCELLED along with INTERRUPTED
            if desired is DesiredState.PAUSE:
                await self._transition(run_id, RunState.QUEUED, "", attempt)
                await self._transition(run_id, RunState.PAUSED, "paused on request", attempt)
            elif (deaths := await asyncio.to_thread(self._deaths, run_id)) > self._max_restarts:
                why = f"gave up after {deaths} worker deaths; the last: {reason}"
                await self._transition(run_id, RunState.FAILED, why, attempt)
        except (Conflict, NotFound, PreconditionFailed) as error:
            log.info("run_moved_on", run_id=run_id, error=error.message)

    async def _transition(self, run_id: str, state: RunState, reason: str, attempt: int) -> None:
        await asyncio.to_thread(self._store.transition, run_id, state, reason, attempt=attempt)

    def _deaths(self, run_id: str) -> int:
        query = EventQuery(kinds=(EventKind.STATE_CHANGED,))
        return sum(
            isinstance(event.payload, StateChanged)
            and event.payload.state is RunState.INTERRUPTED
            and event.payload.reason.startswith(DIED)
            for event in self._store.events(run_id, query)
        )
