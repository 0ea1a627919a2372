"""The queue between a run and the store: pending writes in order, limited by their bytes.

The buffer is in memory, not in a file, because a full disk is one of the outages that it covers. If
the worker dies while the store is unavailable, nothing is lost: the run resumes from the last
stored checkpoint and produces the later events again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from mentorgrad.domain.event import RunEvent, Segment
from run_store.paging import weight

_SNAPSHOT_BYTES = 256
"""Approximate bytes of a snapshot without its text."""


@dataclass(frozen=True)
class Blob:
    """An artifact or checkpoint to be stored."""

    name: str
    """File name."""
    data: bytes
    """Content."""
    checkpoint: bool
    """Whether it is a checkpoint."""


@dataclass(frozen=True)
class Prune:
    """The removal of old checkpoints."""

    keep: tuple[str, ...]
    """Names of the checkpoints to keep."""


WriteBatch = tuple[RunEvent, ...] | Blob | Prune | threading.Event
"""Data of one write. A `threading.Event` is a barrier: it is set when all earlier jobs are
written."""
_Job = RunEvent | Blob | Prune | threading.Event


def size_of(job: _Job) -> int:
    """Approximate bytes of a pending job, from sizes that need no encoding."""
    if isinstance(job, Blob):
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
    """

    def __init__(self, limit: int, batch: int) -> None:
        self._limit = limit
        self._batch = batch
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

        All pending events are returned together, up to the batch size.
        """
        with self._changed:
            while not self._jobs and not self._closed:
                self._changed.wait()
            events: list[RunEvent] = []
            for job, _ in self._jobs:
                if not isinstance(job, RunEvent):
                    self._taken = max(len(events), 1)
                    return tuple(events) or job
                events.append(job)
                if len(events) == self._batch:
                    break
            self._taken = len(events)
            return tuple(events) or None

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
