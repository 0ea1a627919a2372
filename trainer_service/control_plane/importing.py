"""Import of runs that were executed elsewhere: collects a streamed log and stores it at once."""

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
"""Maximum number of concurrent imports; each is held in memory until it is stored."""


class Importer:
    """Imports logs, each atomically, a few at a time.

    Args:
        max_bytes: Maximum size of a log.
        max_events: Maximum number of events of a log.
    """

    def __init__(self, max_bytes: int, max_events: int) -> None:
        self.max_bytes = max_bytes
        self._max_events = max_events
        self._memory = tensor_arena.BlockCache()
        self._trimming: asyncio.TimerHandle | None = None
        self._under_way = 0

    async def take(
        self,
        store: RunWriter,
        requests: AsyncIterator[bytes],
        read: Callable[[bytes, int], RunEvent],
    ) -> Run:
        """Stores an imported log and returns its run.

        Args:
            store: The run store, as the caller sees it.
            requests: The log, one encoded event per request.
            read: (request, its index) → the decoded and validated event.

        Raises:
            ResourceExhausted: Too many imports are in progress.
            InvalidInput: The log is too large, or not the log of one finished run.
            AlreadyExists: The run_id or request_id belongs to another run.
        """
        if self._under_way >= IMPORTS_AT_ONCE:
            raise ResourceExhausted(
                f"{IMPORTS_AT_ONCE} runs are being imported already; try again later",
                reason="IMPORTS_BUSY",
            )
        self._under_way += 1
        try:
            log = await self._receive(requests, read)
        except BaseException:
            self._ended()
            raise
        return await run_to_completion(partial(store.import_run, log), self._ended)

    async def _receive(
        self, requests: AsyncIterator[bytes], read: Callable[[bytes, int], RunEvent]
    ) -> list[RunEvent]:
        """Receives the events of one log, up to the limits."""
        arena = tensor_arena.TensorArena(self._memory)
        events: list[RunEvent] = []
        size = count = 0

        def admit(request: bytes) -> None:
            nonlocal size, count
            size, count = size + len(request), count + 1
            if size > self.max_bytes or count > self._max_events:
                raise InvalidInput.field(
                    "event",
                    f"an imported run may have at most {self._max_events} events and "
                    f"{self.max_bytes >> 20} MiB",
                    reason="IMPORT_TOO_LARGE",
                )

        await in_batches(
            requests, admit, lambda request: events.append(arena.keep(read(request, len(events))))
        )
        return events

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
