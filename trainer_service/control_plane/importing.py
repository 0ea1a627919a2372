"""Runs that were executed elsewhere, on their way into the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import numpy as np

from mentorgrad.errors import InvalidInput, ResourceExhausted
from mentorgrad.model.event import RunEvent, Segment
from mentorgrad.model.run import Run
from mentorgrad.schema import evolve
from run_store.protocols import RunWriter
from trainer_service.control_plane.threads import to_its_end

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

    async def take(self, sent: AsyncIterator[tuple[RunEvent, int]]) -> Run:
        """Records a log and returns the run that it makes.

        Args:
            sent: Each event, sound in itself, and the bytes that it came in.

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
            events = await self._collect(sent)
        except BaseException:
            self._ended()
            raise
        return await to_its_end(partial(self._store.import_run, events), self._ended)

    def _ended(self) -> None:
        self._under_way -= 1

    async def _collect(self, sent: AsyncIterator[tuple[RunEvent, int]]) -> list[RunEvent]:
        """The events of a log, up to the limits."""
        events: list[RunEvent] = []
        total, shelf = 0, _Shelf()
        async for event, size in sent:
            total += size
            if total > self._max_bytes or len(events) >= self._max_events:
                raise InvalidInput.field(
                    "event",
                    f"an imported run may have at most {self._max_events} events and "
                    f"{self._max_bytes >> 20} MiB",
                    reason="IMPORT_TOO_LARGE",
                )
            events.append(shelf.keep(event))
        return events


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
