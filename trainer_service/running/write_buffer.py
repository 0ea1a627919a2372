"""What a run has recorded and its store has not: jobs in order, bounded by their bytes.

The buffer is memory, not a file. A full disk is one of the troubles it is there for, and a worker
that dies with its store away loses nothing by it: the run goes on from the last checkpoint that the
store has, and makes the events behind it again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from mentorgrad.domain.event import RunEvent, Segment
from mentorgrad.wire import codec

_SNAPSHOT_BYTES = 256
"""About what a snapshot takes beside its words."""


@dataclass(frozen=True)
class Blob:
    """A file of the run."""

    name: str
    """Its name."""
    data: bytes
    """Its bytes."""
    checkpoint: bool
    """Whether it is a checkpoint."""


@dataclass(frozen=True)
class Prune:
    """The removal of old checkpoints."""

    keep: tuple[str, ...]
    """Names of those that stay."""


WriteBatch = tuple[RunEvent, ...] | Blob | Prune | threading.Event
"""What is written at once; an `Event` is set when all before it is written."""
_Job = RunEvent | Blob | Prune | threading.Event


def size_of(job: _Job) -> int:
    """Bytes that a waiting job holds, about."""
    if isinstance(job, Blob):
        return len(job.data)
    if not isinstance(job, RunEvent):
        return 0
    if isinstance(job.payload, Segment):
        parameters = job.payload.parameters
        words = sum(_SNAPSHOT_BYTES + len(snapshot.text) for snapshot in job.payload.snapshots)
        return words + (parameters.nbytes if parameters is not None else 0)
    return len(codec.encode_event(job))


class WriteBuffer:
    """One thread puts, another takes, writes and says so.

    Args:
        limit: Bytes that may wait; one job more than that fits, so that none is ever too large.
        batch: Most events that are written at once.
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
        """Whether as much waits as may."""
        return self._bytes >= self._limit

    def put(self, job: _Job, hold_back: Callable[[], bool] = lambda: False) -> None:
        """Adds a job behind all others.

        Args:
            job: What is to be written.
            hold_back: Whether to wait for room; asked again and again while there is none.
        """
        size = size_of(job)
        with self._changed:
            while self.is_full and hold_back():
                self._changed.wait(0.05)
            self._jobs.append((job, size))
            self._bytes += size
            self._changed.notify_all()

    def take(self) -> WriteBatch | None:
        """Waits for what is to be written next, which stays until it is `done`; None at the end.

        Whatever events wait go together; nothing waits for company.
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
        """What was taken is written, or given up."""
        with self._changed:
            for _ in range(self._taken):
                self._bytes -= self._jobs.popleft()[1]
            self._taken = 0
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more comes."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
