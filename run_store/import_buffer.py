"""Converts the events of an imported log to rows, in chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from mentorgrad.domain.event import RunEvent
from run_store import sql_rows

_CHUNK = 64
"""Events per chunk."""

Chunk = tuple[Sequence[RunEvent], sql_rows.Rows]
"""Events and their rows."""


def chunks(given: Sequence[RunEvent]) -> Iterator[Sequence[RunEvent]]:
    """Splits the events into parts of `_CHUNK`."""
    return (given[start : start + _CHUNK] for start in range(0, len(given), _CHUNK))


def rows_ahead(given: Sequence[RunEvent]) -> Iterator[Chunk]:
    """Yields the events in chunks with their rows. A thread computes the next chunk's rows while
    the caller writes the current one: hashing and inserting both release the GIL."""
    source = ((chunk, sql_rows.rows_of(chunk)) for chunk in chunks(given))
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, source, None)
        while (chunk := coming.result()) is not None:
            coming = thread.submit(next, source, None)
            yield chunk
