"""Writes a run's events from a thread of its own, in order, through a bounded queue."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from mentorgrad.errors import InternalError, MentorgradError
from mentorgrad.model.event import Payload, RunEvent
from run_store.protocols import Lease, RunWriter

log = structlog.get_logger(__name__)

QUEUE_LENGTH = 256
"""Jobs that may wait; a run that outpaces its store is held back here."""
BATCH = 64
"""Most events of one append."""


@dataclass(frozen=True)
class _Blob:
    name: str
    data: bytes
    checkpoint: bool


@dataclass(frozen=True)
class _Prune:
    keep: tuple[str, ...]


_Job = RunEvent | _Blob | _Prune | threading.Event | None


class Recorder:
    """Numbers events and has them stored.

    `put` and `blob` return at once unless the queue is full; what goes wrong in the writer's thread
    is raised by the next call of any method. A store that cannot be reached is tried again with a
    growing pause, `patience` seconds in all; appending twice is a no-op, so that is safe.

    Args:
        store: Where to.
        lease: The run, the attempt and the last seq.
        patience: Longest time to wait for an unreachable store, in seconds.
        sleep: How to wait.
    """

    def __init__(
        self,
        store: RunWriter,
        lease: Lease,
        *,
        patience: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._lease = lease
        self._patience = patience
        self._sleep = sleep
        self._queue: queue.Queue[_Job] = queue.Queue(QUEUE_LENGTH)
        self._failure: BaseException | None = None
        self.last_seq = lease.last_seq
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    def put(self, payload: Payload) -> int:
        """Queues an event; returns its seq."""
        self._raise()
        self.last_seq += 1
        now = datetime.now(UTC)
        event = RunEvent(self._lease.run_id, self.last_seq, self._lease.attempt, now, payload)
        self._queue.put(event)
        return self.last_seq

    def blob(self, name: str, data: bytes, *, checkpoint: bool = False) -> None:
        """Queues a file; it is stored before any event that is put after it."""
        self._raise()
        self._queue.put(_Blob(name, data, checkpoint))

    def prune(self, keep: Sequence[str]) -> None:
        """Queues the removal of all checkpoints but these."""
        self._raise()
        self._queue.put(_Prune(tuple(keep)))

    def flush(self) -> None:
        """Returns when all that was queued is stored.

        Raises:
            MentorgradError: It could not be.
        """
        barrier = threading.Event()
        self._queue.put(barrier)
        barrier.wait()
        self._raise()

    def close(self) -> None:
        """Stores what is queued and ends the thread; raises nothing."""
        self._queue.put(None)
        self._thread.join()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _raise(self) -> None:
        if self._failure is not None:
            if isinstance(self._failure, MentorgradError):
                raise self._failure
            raise InternalError("the recorder failed") from self._failure

    # -- the writer's thread ------------------------------------------------------------------

    def _write(self) -> None:
        events: list[RunEvent] = []
        while True:
            try:
                # Whatever waits goes into one append; nothing waits for company.
                job = self._queue.get(block=not events)
            except queue.Empty:
                self._do(tuple(events))
                events = []
                continue
            if isinstance(job, RunEvent) and len(events) < BATCH:
                events.append(job)
                continue
            if events:
                self._do(tuple(events))
            events = [job] if isinstance(job, RunEvent) else []
            if job is None:
                return
            if not isinstance(job, RunEvent):
                self._do(job)

    def _do(self, job: Sequence[RunEvent] | _Blob | _Prune | threading.Event) -> None:
        """One job; after a failure, nothing is written any more and barriers open at once."""
        if isinstance(job, threading.Event):
            job.set()
            return
        if self._failure is not None:
            return
        try:
            self._with_patience(job)
        except Exception as error:
            log.error("recorder_failed", run_id=self._lease.run_id, error=str(error))
            self._failure = error

    def _with_patience(self, job: Sequence[RunEvent] | _Blob | _Prune) -> None:
        pause, waited = 0.05, 0.0
        while True:
            try:
                return self._store_job(job)
            except MentorgradError as error:
                if not error.retryable or waited >= self._patience:
                    raise
                log.warning("store_retry", error=error.message, pause=pause)
                self._sleep(pause)
                waited += pause
                pause = min(pause * 2, 2.0)

    def _store_job(self, job: Sequence[RunEvent] | _Blob | _Prune) -> None:
        run_id, attempt = self._lease.run_id, self._lease.attempt
        if isinstance(job, _Blob):
            self._store.put_blob(run_id, attempt, job.name, job.data, checkpoint=job.checkpoint)
        elif isinstance(job, _Prune):
            self._store.prune_checkpoints(run_id, attempt, job.keep)
        else:
            self._store.append(run_id, attempt, job)
