"""Events of an imported log: buffered while they arrive, then made into rows."""

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
"""Events written at once."""

_MEMORY = 64 * 1024 * 1024
"""Bytes of a log kept in memory before it goes to a temporary file."""

Chunk = tuple[list[RunEvent], sql_rows.Rows]
"""Some events, and what they are in the store."""


class BufferedEvents:
    """Events that have come and will be read again.

    Args:
        file: Empty; takes them.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def keeping(self, given: Iterable[RunEvent]) -> Iterator[RunEvent]:
        """The same events, each kept when it is taken."""
        for event in given:
            data = codec.encode_event(event)
            self._file.write(len(data).to_bytes(4, "little") + data)
            yield event

    def events(self) -> Iterator[RunEvent]:
        """What was kept, from the first one on."""
        self._file.seek(0)
        while size := self._file.read(4):
            yield codec.decode_event(self._file.read(int.from_bytes(size, "little")))


@contextmanager
def buffer_events() -> Iterator[BufferedEvents]:
    """A place for a log that can be read once only, to the block's end."""
    with tempfile.SpooledTemporaryFile(max_size=_MEMORY) as file:
        yield BufferedEvents(file)


def chunks(given: Iterable[RunEvent]) -> Iterator[list[RunEvent]]:
    """The events in lists of what is written at once."""
    left = iter(given)
    while chunk := list(itertools.islice(left, _CHUNK)):
        yield chunk


def rows_ahead(given: Iterable[RunEvent]) -> Iterator[Chunk]:
    """The events in chunks with their rows. A thread makes the next chunk's rows while one is
    written: digests and insertions both let other threads run."""
    source = ((chunk, sql_rows.rows_of(chunk)) for chunk in chunks(given))
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, source, None)
        while (chunk := coming.result()) is not None:
            coming = thread.submit(next, source, None)
            yield chunk
