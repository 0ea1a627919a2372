"""A foreign log on its way into a store: put aside while it comes, and made into rows."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO

from mentorgrad.model.event import Resumed, RunEvent
from mentorgrad.model.run import Run
from mentorgrad.wire import codec
from run_store import rules, sql_rows

_CHUNK = 64
"""Events written at once."""

_MEMORY = 64 * 1024 * 1024
"""Bytes of a log kept in memory before it goes to a temporary file."""

Chunk = tuple[list[RunEvent], sql_rows.Rows]
"""What some events are in the store, and those of them that resume."""


class Aside:
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
def put_aside() -> Iterator[Aside]:
    """A place for a log that can be read once only, to the block's end."""
    with tempfile.SpooledTemporaryFile(max_size=_MEMORY) as file:
        yield Aside(file)


def chunks(given: Iterable[RunEvent]) -> Iterator[list[RunEvent]]:
    """The events in lists of what is written at once."""
    left = iter(given)
    while chunk := list(itertools.islice(left, _CHUNK)):
        yield chunk


def resumes_of(events: Iterable[RunEvent]) -> list[RunEvent]:
    """The events that supersede others."""
    return [event for event in events if isinstance(event.payload, Resumed)]


def _made(events: list[RunEvent]) -> Chunk:
    return resumes_of(events), sql_rows.rows_of(events)


def rows_ahead(given: Iterable[RunEvent]) -> Iterator[Chunk]:
    """The events in chunks with their rows. A thread makes the next chunk's rows while one is
    written: digests and insertions both let other threads run."""
    source = map(_made, chunks(given))
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, source, None)
        while (chunk := coming.result()) is not None:
            coming = thread.submit(next, source, None)
            yield chunk


class Incoming:
    """A foreign log that is checked and made into rows as it comes; see `protocols.Import`.

    Args:
        store: Stores a run with its log, which it may read twice.
    """

    def __init__(self, store: Callable[[Run, Callable[[], Iterable[Chunk]]], Run]) -> None:
        self._store = store
        self._folding = rules.Folding()
        self._chunks: list[Chunk] = []

    def add(self, events: Sequence[RunEvent]) -> None:
        """See `Import.add`."""
        self._folding.add(events)
        self._chunks += map(_made, chunks(events))

    def commit(self) -> Run:
        """See `Import.commit`."""
        return self._store(self._folding.run(), lambda: self._chunks)
