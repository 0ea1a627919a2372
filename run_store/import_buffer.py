"""Buffers the events of an imported log while they arrive, then converts them to rows."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO

from mentorgrad.domain.event import RunEvent
from mentorgrad.wire import codec
from run_store import sql_rows

_CHUNK = 64
"""Events per chunk."""

_MEMORY = 64 * 1024 * 1024
"""Maximum bytes of a log buffered in memory; a longer log is written to a temporary file."""

Chunk = tuple[list[RunEvent], sql_rows.Rows]
"""Events and their rows."""


class BufferedEvents:
    """Buffer of received events, to be read again.

    Args:
        file: Empty file to write the events to.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def keeping(self, given: Iterable[RunEvent]) -> Iterator[RunEvent]:
        """Yields the same events, writing each to the buffer first."""
        for event in given:
            data = codec.encode_event(event)
            self._file.write(len(data).to_bytes(4, "little") + data)
            yield event

    def events(self) -> Iterator[RunEvent]:
        """The buffered events, from the first."""
        self._file.seek(0)
        while size := self._file.read(4):
            yield codec.decode_event(self._file.read(int.from_bytes(size, "little")))


@contextmanager
def buffer_events() -> Iterator[BufferedEvents]:
    """Creates a buffer for a log that can be read only once; deleted when the block ends."""
    with tempfile.SpooledTemporaryFile(max_size=_MEMORY) as file:
        yield BufferedEvents(file)


def chunks(given: Iterable[RunEvent]) -> Iterator[list[RunEvent]]:
    """Splits the events into lists of `_CHUNK`."""
    left = iter(given)
    while chunk := list(itertools.islice(left, _CHUNK)):
        yield chunk


def rows_ahead(given: Iterable[RunEvent]) -> Iterator[Chunk]:
    """Yields the events in chunks with their rows. A thread computes the next chunk's rows while
    the caller writes the current one: hashing and inserting both release the GIL."""
    source = ((chunk, sql_rows.rows_of(chunk)) for chunk in chunks(given))
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, source, None)
        while (chunk := coming.result()) is not None:
            coming = thread.submit(next, source, None)
            yield chunk
