"""The recorded events of runs, read in portions and written as JSON."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass

from mentorgrad.domain.event import EventKind, RunEvent, Segment
from mentorgrad.domain.query import EventQuery
from ui_service import messages
from ui_service.shared_reads import SharedReads
from ui_service.trainer import Trainer

PORTION_EVENTS = 256
PORTION_BYTES = 1 << 20
"""A portion ends after so many events, or with the event with which it has so many bytes."""

_READS = 4
"""Maximum number of reads at the same time: a trainer serves others than the page, too."""

_LARGE_SNAPSHOTS = 500
"""Writing so many takes some 5 ms."""


@dataclass(frozen=True)
class WrittenEvent:
    """An event as the page gets it."""

    seq: int
    """Its sequence number."""
    json: bytes
    """The message `RunEvent` in JSON, on one line."""


Portion = tuple[list[WrittenEvent], bool]
"""Events in order, and whether there are more."""


def write(event: RunEvent) -> WrittenEvent:
    """Writes an event; its raw tensors must have been left out."""
    return WrittenEvent(event.seq, messages.encoded(messages.of_event(event)))


async def write_aside(event: RunEvent) -> WrittenEvent:
    """Writes an event: a large one in a thread, so that the other tabs go on meanwhile."""
    payload = event.payload
    if isinstance(payload, Segment) and len(payload.snapshots) > _LARGE_SNAPSHOTS:
        return await asyncio.to_thread(write, event)
    return write(event)


class RecordedEvents:
    """Reads logs for all tabs. For one event loop.

    Args:
        trainer: Where runs are recorded.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._places = asyncio.Semaphore(_READS)
        # After an outage all tabs come back at once, at nearly the same positions.
        self._shared: SharedReads[Portion] = SharedReads(seconds=0.0)

    async def read(
        self,
        run_id: str,
        after: int,
        most: int = PORTION_EVENTS,
        kinds: tuple[EventKind, ...] = (),
    ) -> Portion:
        """A portion of a log: one read for all that ask for it at the same time.

        Args:
            run_id: The run.
            after: Only events with a greater sequence number.
            most: Maximum number of events.
            kinds: Only events of these kinds; empty: all.

        Returns:
            The events in order, and whether there are more.

        Raises:
            MentorgradError: The trainer does not answer, or has no such run.
        """
        query = EventQuery(after, kinds)
        return await self._shared.get(
            (run_id, after, most, kinds), lambda: self._read(run_id, query, most)
        )

    async def _read(self, run_id: str, query: EventQuery, most: int) -> Portion:
        found: list[WrittenEvent] = []
        size = 0
        # A portion is read to its end before it is sent: a slow tab holds no place.
        async with (
            self._places,
            aclosing(self._trainer.events(run_id, query)) as events,
        ):
            async for event in events:
                if len(found) >= most or size >= PORTION_BYTES:
                    return found, True
                found.append(await write_aside(event))
                size += len(found[-1].json)
        return found, False
