"""Reports an agent to the store: who it is, what it has, and what it does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from mentorgrad.domain.agent import Agent
from mentorgrad.errors import MentorgradError
from mentorgrad.ids import new_run_id
from run_store.agents import AgentStore

log = structlog.get_logger(__name__)

REPORT_SECONDS = 2.0
"""Interval of the reports."""


class Registration:
    """Reports at the start, every two seconds, and at the end. For one event loop.

    Args:
        store: Where it reports.
        record: Returns the agent's present state.
    """

    def __init__(self, store: AgentStore, record: Callable[[], Agent]) -> None:
        self._store = store
        self._record = record
        self._holder = new_run_id()
        self._task: asyncio.Task[None] | None = None
        self._is_heard = False

    async def start(self) -> None:
        """Reports for the first time.

        Raises:
            Conflict: Another agent has the name.
            Unavailable: The store does not answer.
        """
        await self.report()
        self._task = asyncio.create_task(self._go_on())

    async def report(self) -> None:
        """Reports the present state."""
        self._is_heard = False
        await asyncio.to_thread(self._store.report_agent, self._record(), self._holder)
        self._is_heard = True

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            try:
                await self.report()
            except MentorgradError as error:  # the runs do not depend on it
                log.warning("not_reported", error=error.message)

    async def close(self) -> None:
        """Removes the agent from the store, unless that did not answer last time: an end does not
        wait for it."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if self._is_heard:
            with contextlib.suppress(MentorgradError):
                await asyncio.to_thread(self._store.end_agent, self._record().name, self._holder)
