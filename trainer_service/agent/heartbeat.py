"""The heartbeat of an agent: one transaction every two seconds for all that the store has to know.

It reports the agent, renews the leases of its runs, and brings back what is wanted of them. Between
two beats, one query for all runs asks what is wanted. Workers are told by their agent and ask the
store nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Protocol

import structlog

from mentorgrad.domain.agent import Agent
from mentorgrad.domain.run import DesiredState
from mentorgrad.errors import Conflict, MentorgradError
from mentorgrad.ids import new_run_id
from run_store.agents import AgentStore
from trainer_service.running.stop_control import HEARTBEAT_SECONDS, LEASE

log = structlog.get_logger(__name__)

BEAT_SECONDS = HEARTBEAT_SECONDS
"""Interval of the reports, on average: it varies, so that many agents do not report at once."""
LOOK_SECONDS = 0.25
"""Interval at which an agent with runs looks what is wanted of them."""
SPARE_SECONDS = 5.0
"""Time after a failed report in which no lease is treated as expired: while the store is
unavailable, nobody can renew a lease."""
NAME_SECONDS = 3.0
"""Time between two attempts to begin under a name that another agent has: it reports meanwhile if
it lives."""


class HeldRuns(Protocol):
    """The runs of an agent, of which the scheduler has the workers."""

    @property
    def held(self) -> Mapping[str, int]:
        """Run → attempt, of the runs whose leases are renewed."""
        ...

    def tell(self, wishes: Mapping[str, DesiredState]) -> None:
        """Tells the workers of these runs what is wanted of them."""
        ...

    def leave_off(self) -> None:
        """Takes no further runs; those that it has go on."""
        ...

    async def bury(self) -> None:
        """Marks the runs of dead workers of all agents as interrupted."""
        ...


class AgentHeartbeat:
    """Beats at the start, every two seconds, and at the end. For one event loop.

    Args:
        store: Where the agent reports.
        record: Returns the agent's present state.
        runs: The agent's runs.
    """

    def __init__(self, store: AgentStore, record: Callable[[], Agent], runs: HeldRuns) -> None:
        self._store = store
        self._record = record
        self._runs = runs
        self._holder = new_run_id()
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._is_heard = self._is_leaving = self._is_away = False
        self._due = self._spared_until = 0.0

    async def start(self) -> None:
        """Beats for the first time. If the last agent of this name died without an end, and was
        started again at once, this takes until it has been silent for `SILENT`.

        Raises:
            Conflict: Another agent has the name, and reports.
            Unavailable: The store does not answer.
        """
        seen: datetime | None = None
        while True:
            try:
                await self._beat()
                break
            except Conflict:
                last = await self._last_seen()
                if last is None or seen not in (None, last):
                    raise
                if seen is None:
                    log.info("name_taken", meaning="waits for another agent of this name to end")
                seen = last
            await asyncio.sleep(NAME_SECONDS)
        self._task = asyncio.create_task(self._go_on())

    async def _last_seen(self) -> datetime | None:
        """When an agent of this name has reported last."""
        name = self._record().name
        listed = await asyncio.to_thread(self._store.list_workers)
        return next((agent.seen_at for agent in listed if agent.name == name), None)

    def wake(self) -> None:
        """Makes it look at once what is wanted of the runs."""
        self._wake.set()

    async def _go_on(self) -> None:
        while True:
            left = max(self._due - time.monotonic(), 0.0)
            looks = self._runs.held and not self._is_away
            # Not `wait_for`: it loses a cancellation that arrives together with a wake-up.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, LOOK_SECONDS) if looks else left):
                    await self._wake.wait()
            self._wake.clear()
            is_due = time.monotonic() >= self._due
            await self._safely(self._beat_and_bury if is_due else self._look)

    async def _safely(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except MentorgradError as error:  # workers that hear nothing renew their leases themselves
            self._spared_until = time.monotonic() + SPARE_SECONDS
            if not self._is_away:
                log.warning("not_reported", error=error.message)
            self._is_away = True
        except Exception as error:  # a bug must not end the heartbeat silently
            log.error("heartbeat_failed", exc_info=error)

    async def _beat(self) -> bool:
        """Reports the present state; returns whether this agent buries."""
        self._due = time.monotonic() + BEAT_SECONDS * random.uniform(0.9, 1.1)
        self._is_heard = False
        held = dict(self._runs.held)
        beat = await asyncio.to_thread(
            self._store.report_agent, self._record(), self._holder, held, LEASE
        )
        self._is_heard = True
        if self._is_away:
            log.info("reported_again")
            self._is_away = False
        if not beat.is_current and not self._is_leaving:
            log.warning("store_migrated", meaning="no further runs; upgrade this installation")
            self._is_leaving = True
            self._runs.leave_off()
        self._runs.tell(beat.wishes)
        return beat.buries

    async def _beat_and_bury(self) -> None:
        if await self._beat() and time.monotonic() >= self._spared_until:
            await self._runs.bury()

    async def _look(self) -> None:
        if held := list(self._runs.held):
            wishes = await asyncio.to_thread(self._store.wishes, held)
            # Only a beat says RUN: it also says that the lease is renewed.
            self._runs.tell({run: w for run, w in wishes.items() if w is not DesiredState.RUN})

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
