"""Runs that were executed elsewhere, on their way into the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

from mentorgrad.domain.event import RunEvent
from mentorgrad.domain.run import Run
from mentorgrad.errors import InvalidInput, ResourceExhausted
from run_store.protocols import RunWriter
from trainer_service.control_plane import tensor_arena
from trainer_service.control_plane.stream_batching import in_batches
from trainer_service.control_plane.thread_calls import run_to_completion

IMPORTS_AT_ONCE = 2
"""Imports that may be under way; each is held in memory whole until it is recorded."""


class Importer:
    """Takes logs in, a few at a time, each all or nothing.

    Args:
        store: The truth.
        max_bytes: Largest log.
        max_events: Most events of a log.
    """

    def __init__(self, store: RunWriter, max_bytes: int, max_events: int) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._max_events = max_events
        self._memory = tensor_arena.BlockCache()
        self._trimming: asyncio.TimerHandle | None = None
        self._under_way = 0

    async def take(
        self, requests: AsyncIterator[bytes], read: Callable[[bytes, int], RunEvent]
    ) -> Run:
        """Records a log and returns the run that it makes.

        Args:
            requests: The log, an event each.
            read: (request, its index) → the event, sound in itself.

        Raises:
            ResourceExhausted: Others are being imported.
            InvalidInput: It is too large, or not the log of one finished run.
            AlreadyExists: The run_id or request_id names another run.
        """
        if self._under_way >= IMPORTS_AT_ONCE:
            raise ResourceExhausted(
                f"{IMPORTS_AT_ONCE} runs are being imported already; try again later",
                reason="IMPORTS_BUSY",
            )
        self._under_way += 1
        try:
            log = _Log(self._max_bytes, self._max_events, tensor_arena.TensorArena(self._memory))
            await in_batches(
                requests, log.admit, lambda request: log.add(read(request, len(log.events)))
            )
        except BaseException:
            self._ended()
            raise
        return await run_to_completion(partial(self._store.import_run, log.events), self._ended)

    def _ended(self) -> None:
        self._under_way -= 1
        if self._trimming is None:
            self._trim_later()

    def _trim_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._trimming = loop.call_later(tensor_arena.IDLE_SECONDS, self._trim)

    def _trim(self) -> None:
        self._trimming = None
        if self._memory.trim():
            self._trim_later()


class _Log:
    """The events of a log, up to the limits.

    Args:
        max_bytes: Most bytes that they may have come in.
        max_events: Most of them.
        place: Takes their tensors.
    """

    def __init__(self, max_bytes: int, max_events: int, place: tensor_arena.TensorArena) -> None:
        self.events: list[RunEvent] = []
        self._max_bytes = max_bytes
        self._max_events = max_events
        self._bytes = 0
        self._count = 0
        self._arena = place

    def admit(self, request: bytes) -> None:
        """Whether there is room for one more event.

        Raises:
            InvalidInput: That is one too many, or too large.
        """
        self._count += 1
        self._bytes += len(request)
        if self._bytes > self._max_bytes or self._count > self._max_events:
            raise InvalidInput.field(
                "event",
                f"an imported run may have at most {self._max_events} events and "
                f"{self._max_bytes >> 20} MiB",
                reason="IMPORT_TOO_LARGE",
            )

    def add(self, event: RunEvent) -> None:
        """One that was admitted."""
        self.events.append(self._arena.keep(event))
