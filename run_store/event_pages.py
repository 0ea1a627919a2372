"""Reads the recorded events of a run in batches, without blocking the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator

from mentorgrad.domain.query import EventQuery, View
from run_store import paging
from run_store.protocols import RunStore
from run_store.stored_events import StoredEvent

_PAGES = {View.SUMMARY: 64, View.FULL: 4}
"""Maximum events read from the store at once for one watcher."""


async def read_pages(
    store: RunStore, run_id: str, query: EventQuery
) -> AsyncGenerator[list[StoredEvent], None]:
    """Yields the events recorded so far in non-empty batches, read in a thread."""
    count = _PAGES[query.view]
    source = iter(await asyncio.to_thread(store.stored_events, run_id, query))
    while batch := await asyncio.to_thread(_take, source, count):
        yield batch


def _take(source: Iterator[StoredEvent], count: int) -> list[StoredEvent]:
    found: list[StoredEvent] = []
    size = 0
    while len(found) < count and size < paging.EVENTS_BYTES:
        event = next(source, None)
        if event is None:
            break
        found.append(event)
        size += event.size
    return found
