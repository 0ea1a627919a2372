"""The queue between a run and the store: pending writes in order, limited by their bytes.

What a run records in quick succession is written together: a transaction costs more than most
events. So writes follow each other after an interval, unless somebody waits for them.

The buffer is in memory, not in a file, because a full disk is one of the outages that it covers. If
the worker dies while the store is unavailable, nothing is lost: the run resumes from the last
stored checkpoint and produces the later events again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from mentorgrad.domain.event import RunEvent, Segment
from run_store.paging import weight
from run_store.protocols import RunFile

_SNAPSHOT_BYTES = 256
"""Approximate bytes of a snapshot without its text."""


@dataclass(frozen=True)
class Prune:
    """The removal of old checkpoints."""

    keep: tuple[str, ...]
    """Names of the checkpoints to keep."""


@dataclass(frozen=True)
class Records:
    """Events, and the files put before or between them, which are stored in one transaction."""

    events: tuple[RunEvent, ...] = ()
    """The events."""
    files: tuple[RunFile, ...] = ()
    """The files."""


WriteBatch = Records | Prune | threading.Event
"""Data of one write. A `threading.Event` is a barrier: it is set when all earlier jobs are
written."""
_Job = RunEvent | RunFile | Prune | threading.Event

_LARGE_BYTES = 1 << 20
"""Pending bytes that are written at once, and a file of which is written alone."""


def size_of(job: _Job) -> int:
    """Approximate bytes of a pending job, from sizes that need no encoding."""
    if isinstance(job, RunFile):
        return len(job.data)
    if not isinstance(job, RunEvent):
        return 0
    if isinstance(job.payload, Segment):  # the only ones with thousands of parts
        parameters = job.payload.parameters
        words = sum(_SNAPSHOT_BYTES + len(snapshot.text) for snapshot in job.payload.snapshots)
        return words + (parameters.nbytes if parameters is not None else 0)
    return weight(job)


class WriteBuffer:
    """A FIFO queue: one thread puts jobs; another takes them, writes them and calls `done`.

    Args:
        limit: Maximum pending bytes. The last job may exceed it, so that no job is too large.
        batch: Maximum number of events per write.
        interval: Time from one write to the next, seconds, unless there is much to write, or a
            barrier.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        limit: int,
        batch: int,
        interval: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit
        self._batch = batch
        self._interval = interval
        self._clock = clock
        self._next_at = 0.0
        self._urgent = min(_LARGE_BYTES, limit)
        self._jobs: deque[tuple[_Job, int]] = deque()
        self._taken = 0
        self._bytes = 0
        self._closed = False
        self._changed = threading.Condition()

    @property
    def is_full(self) -> bool:
        """Whether the pending bytes have reached the limit."""
        return self._bytes >= self._limit

    def put(self, job: _Job, hold_back: Callable[[], bool] = lambda: False) -> None:
        """Adds a job at the end.

        Args:
            job: The data to write.
            hold_back: Whether to wait while the buffer is full; polled until it is false or there
                is room.
        """
        size = size_of(job)
        with self._changed:
            while self.is_full and hold_back():
                self._changed.wait(0.05)
            self._jobs.append((job, size))
            self._bytes += size
            self._changed.notify_all()

    def take(self) -> WriteBatch | None:
        """Waits for the next job and returns it; it stays in the buffer until `done` is called.
        Returns None once the buffer is closed and empty.

        All pending events and files are returned together, up to the batch size. A large file is
        returned alone.
        """
        with self._changed:
            while (left := self._left()) != 0.0:
                self._changed.wait(left)
            self._next_at = self._clock() + self._interval
            batch = self._first()
            self._taken = 1
            if isinstance(batch, Records):
                self._taken = len(batch.events) + len(batch.files)
            return batch

    def _left(self) -> float | None:
        """Seconds until the first jobs are due; None: until there is one."""
        if self._closed:
            return 0.0
        if not self._jobs:
            return None
        is_waited_for = any(isinstance(job, threading.Event) for job, _ in self._jobs)
        if is_waited_for or len(self._jobs) >= self._batch or self._bytes >= self._urgent:
            return 0.0
        return max(self._next_at - self._clock(), 0.0)

    def _first(self) -> WriteBatch | None:
        events: list[RunEvent] = []
        files: list[RunFile] = []
        for job, size in self._jobs:
            if isinstance(job, RunEvent) and len(events) < self._batch:
                events.append(job)
            elif isinstance(job, RunFile) and (size < _LARGE_BYTES or not (events or files)):
                files.append(job)
                if size >= _LARGE_BYTES:
                    break
            elif not (events or files) and not isinstance(job, (RunEvent, RunFile)):
                return job
            else:
                break
        return Records(tuple(events), tuple(files)) if events or files else None

    def done(self) -> None:
        """Removes the jobs that were taken: they are written, or given up."""
        with self._changed:
            for _ in range(self._taken):
                self._bytes -= self._jobs.popleft()[1]
            self._taken = 0
            self._changed.notify_all()

    def close(self) -> None:
        """Declares that no more jobs will be added."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
