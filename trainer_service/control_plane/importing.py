"""Runs that were executed elsewhere, on their way into the store."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np

from mentorgrad.errors import InvalidInput, ResourceExhausted
from mentorgrad.model.event import RunEvent, Segment
from mentorgrad.model.run import Run
from mentorgrad.schema import evolve
from run_store.protocols import RunWriter
from trainer_service.control_plane.threads import to_its_end

R = TypeVar("R")

IMPORTS_AT_ONCE = 2
"""Imports that may be under way; each is held in memory whole until it is recorded."""

_PIECE_BYTES = 16 * 1024 * 1024
"""numpy asks for huge pages for arrays of at least 4 MiB."""

_ALIGNED = 64
"""Bytes; a cache line."""


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
        self._under_way = 0

    async def take(
        self, requests: AsyncIterator[R], read: Callable[[R, int], tuple[RunEvent, int]]
    ) -> Run:
        """Records a log and returns the run that it makes.

        Args:
            requests: The log, an event each.
            read: (request, its index) → the event, sound in itself, and the bytes that it came in.

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
            log = _Log(self._max_bytes, self._max_events)
            await _each_behind(requests, lambda request: log.add(*read(request, len(log.events))))
        except BaseException:
            self._ended()
            raise
        return await to_its_end(partial(self._store.import_run, log.events), self._ended)

    def _ended(self) -> None:
        self._under_way -= 1


async def _each_behind(source: AsyncIterator[R], work: Callable[[R], None]) -> None:
    """Works on each item of a stream while the next one is on its way.

    An item is asked for only when the one before it is taken, so whoever works first lets the
    transport, which has threads of its own, stand idle meanwhile.

    Raises:
        Exception: The first that the work or the source raises, at once.
    """
    loop, waiting = asyncio.get_running_loop(), deque[R]()
    failed: list[Exception] = []

    def catch_up() -> None:
        try:
            while waiting and not failed:
                work(waiting.popleft())
        except Exception as error:
            failed.append(error)
            reading.cancel()

    async def read() -> None:
        async for item in source:
            catch_up()  # unless the loop has come to it
            waiting.append(item)
            loop.call_soon(catch_up)
        catch_up()

    reading = asyncio.ensure_future(read())
    try:
        await reading
    except asyncio.CancelledError:
        if failed:
            raise failed[0] from None
        raise


class _Log:
    """The events of a log, up to the limits.

    Args:
        max_bytes: Most bytes that they may have come in.
        max_events: Most of them.
    """

    def __init__(self, max_bytes: int, max_events: int) -> None:
        self.events: list[RunEvent] = []
        self._max_bytes = max_bytes
        self._max_events = max_events
        self._bytes = 0
        self._shelf = _Shelf()

    def add(self, event: RunEvent, size: int) -> None:
        """One more.

        Raises:
            InvalidInput: That is one too many, or too large.
        """
        self._bytes += size
        if self._bytes > self._max_bytes or len(self.events) >= self._max_events:
            raise InvalidInput.field(
                "event",
                f"an imported run may have at most {self._max_events} events and "
                f"{self._max_bytes >> 20} MiB",
                reason="IMPORT_TOO_LARGE",
            )
        self.events.append(self._shelf.keep(event))


class _Shelf:
    """Memory for the tensors of a log, taken in large pieces.

    Fresh memory is what a large log costs most: a page fault for every 4 KiB of small pieces, and
    for every 2 MiB of these.
    """

    def __init__(self) -> None:
        self._piece = np.empty(0, np.uint8)
        self._taken = 0

    def keep(self, event: RunEvent) -> RunEvent:
        """The same event, with its tensor in here."""
        segment = event.payload
        if not isinstance(segment, Segment) or segment.parameters is None:
            return event
        return evolve(event, payload=evolve(segment, parameters=self._copy(segment.parameters)))

    def _copy(self, array: np.ndarray) -> np.ndarray[Any, Any]:
        end = self._taken + array.nbytes
        if end > self._piece.size:
            self._piece = np.empty(max(_PIECE_BYTES, array.nbytes), np.uint8)
            self._taken, end = 0, array.nbytes
        kept = self._piece[self._taken : end].view(array.dtype).reshape(array.shape)
        kept[...] = array
        kept.flags.writeable = False
        self._taken = -(-end // _ALIGNED) * _ALIGNED
        return kept
