"""Records refused calls in the audit, in batches, and deletes entries that are too old."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import structlog

from mentorgrad.domain.audit import AuditEntry
from mentorgrad.errors import MentorgradError
from run_store.audit import AuditStore

log = structlog.get_logger(__name__)

_FLUSH_SECONDS = 1.0
_EXPIRE_SECONDS = 3600.0
_KINDS = 1_000
"""Different refusals that wait to be recorded; further ones are only counted."""


Do = Callable[[], Awaitable[None]]


class AuditRecorder:
    """Takes refusals at any rate, and writes them about once per second: equal ones as one entry.

    While the store is away they wait, within a limit. For one event loop.

    Args:
        store: The run store.
        kept: How long entries are kept.
    """

    def __init__(self, store: AuditStore, kept: timedelta) -> None:
        self._store = store
        self._kept = kept
        self._waiting: dict[tuple[str, ...], AuditEntry] = {}
        self._more = 0
        self._is_away = False
        self._loops: list[asyncio.Task[None]] = []
        self._closing = asyncio.Event()

    def refused(self, entry: AuditEntry) -> None:
        """Takes a refusal; never blocks."""
        kind = (
            *(entry.owner, entry.caller, entry.address, entry.action, entry.outcome),
            entry.record_id,
        )
        there = self._waiting.get(kind)
        if there is not None:
            self._waiting[kind] = replace(there, count=there.count + entry.count)
        elif len(self._waiting) < _KINDS:
            self._waiting[kind] = entry
        else:
            self._more += entry.count

    def start(self) -> None:
        """Begins to record, on this event loop."""
        self._loops = [
            asyncio.create_task(self._every(_FLUSH_SECONDS, self.flush)),
            asyncio.create_task(self._every(_EXPIRE_SECONDS, self.expire)),
        ]

    async def close(self) -> None:
        """Stops, and records what waits."""
        # Not cancelled: what a thread is writing is either recorded or waits on.
        self._closing.set()
        await asyncio.gather(*self._loops)
        if self._loops:
            await self.flush()

    async def flush(self) -> None:
        """Records what waits; if the store is away, it waits on."""
        taken, self._waiting = self._waiting, {}
        if not taken:
            return
        try:
            await asyncio.to_thread(self._store.record_audit, tuple(taken.values()))
        except Exception as error:
            newer, self._waiting = self._waiting, taken
            for entry in newer.values():
                self.refused(entry)
            if not isinstance(error, MentorgradError):
                raise
            if not self._is_away:
                log.warning("audit_waits", reason=error.message, refusals=len(taken))
            self._is_away = True
            return
        self._is_away = False
        if self._more:
            log.warning("refusals_not_recorded", calls=self._more)
            self._more = 0

    async def expire(self) -> None:
        """Deletes entries that are too old."""
        with contextlib.suppress(MentorgradError):  # the health check tells of a store that is away
            while await asyncio.to_thread(self._store.expire_audit, self._kept):
                if self._closing.is_set():
                    return

    async def _every(self, seconds: float, do: Do) -> None:
        while not await self._closes_within(seconds):
            try:
                await do()
            except Exception:  # the loop has to go on
                log.exception("audit_failed")

    async def _closes_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        return self._closing.is_set()
