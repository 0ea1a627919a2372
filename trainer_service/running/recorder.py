"""Writes a run's events to the store, in order, from a separate thread that retries on outages.

While the store is unavailable, the run continues and its events wait in a write buffer. If the
buffer is full, or the outage lasts longer than the policy allows, `check` raises `Stop` at the next
step boundary and the run is paused. When the store is back, the buffered events are written in
order, including the pause.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import structlog

from mentorgrad.domain.event import Payload, RunEvent
from mentorgrad.errors import InternalError, MentorgradError, Unavailable
from mentorgrad.wire.reconnect import backoff
from run_store.protocols import Lease, RunFile, RunWriter
from trainer_service.job import STORE_PATIENCE
from trainer_service.running.stop_control import Stop, StopKind
from trainer_service.running.write_buffer import Prune, Records, WriteBatch, WriteBuffer

log = structlog.get_logger(__name__)

T = TypeVar("T")

BATCH = 64
"""Maximum number of events per append."""
WRITE_SECONDS = 0.2
"""Time from one append to the next, so that events in quick succession share a transaction."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Shortest and longest pause between two attempts to write, in seconds."""
SILENT_SECONDS = 5.0
"""A single write that takes longer than this counts as an outage of the store."""
LEAVING_SECONDS = 5.0
"""How long a process that must exit still waits for an unavailable store."""


@dataclass(frozen=True)
class StoreOutagePolicy:
    """How long and how much a run buffers while the store is unavailable."""

    spool_bytes: int = 64 << 20
    """Maximum bytes that wait to be written."""
    patience: float = STORE_PATIENCE
    """Seconds that the store may be unavailable before the run is paused."""
    is_leaving: Callable[[], bool] = lambda: False
    """Whether the process must exit soon, even if the store is still unavailable."""


class Recorder:
    """Numbers the events of a run and queues them for storage.

    `put` and `blob` return at once, unless the buffer is full while the store is merely slow. A
    permanent error in the writer thread is raised by the next call of any method. Appends are
    idempotent, so a write whose response was lost is repeated.

    Args:
        store: The run store.
        lease: The run, the attempt and the last seq.
        outage_policy: Limits for outages of the store.
        stored: Called with the events of every write, from the writer thread.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        store: RunWriter,
        lease: Lease,
        outage_policy: StoreOutagePolicy | None = None,
        *,
        stored: Callable[[Sequence[RunEvent]], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._lease = lease
        self._outage_policy = outage_policy or StoreOutagePolicy()
        self._stored = stored
        self._clock = clock
        self._buffer = WriteBuffer(self._outage_policy.spool_bytes, BATCH, WRITE_SECONDS)
        self._failure: BaseException | None = None
        self._trouble: MentorgradError | None = None
        self._since: float | None = None
        self._given_up = threading.Event()
        self.overdue = ""
        """Why the run must pause because of the store; empty if it need not."""
        self.last_seq = lease.last_seq
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    # -- the run's thread ---------------------------------------------------------------------

    def put(self, payload: Payload) -> int:
        """Queues an event; returns its seq."""
        self._raise()
        self.last_seq += 1
        now = datetime.now(UTC)
        event = RunEvent(self._lease.run_id, self.last_seq, self._lease.attempt, now, payload)
        self._buffer.put(event, self._hold_back)
        return self.last_seq

    def blob(self, name: str, data: bytes, *, checkpoint: bool = False) -> None:
        """Queues an artifact or checkpoint; it is stored with, or before, any event that is put
        later."""
        self._raise()
        self._buffer.put(RunFile(name, data, checkpoint), self._hold_back)

    def prune(self, keep: Sequence[str]) -> None:
        """Queues the removal of all checkpoints except `keep`."""
        self._raise()
        self._buffer.put(Prune(tuple(keep)))

    def check(self) -> None:
        """Checks the outage limits; cheap enough for every step.

        Raises:
            Stop: The run must pause because the store is unavailable; `overdue` says why.
        """
        self._judge()
        if self.overdue:
            raise Stop(StopKind.AWAY)

    @property
    def is_away(self) -> bool:
        """Whether the store is unavailable: the last write failed, or the present one takes longer
        than `SILENT_SECONDS`."""
        return self._trouble is not None or self.waited() > SILENT_SECONDS

    def read(self, call: Callable[[], T], check: Callable[[], None]) -> T:
        """Returns the result of `call`, retrying while the store is unavailable.

        Args:
            call: Reads from the store.
            check: Called between two attempts; raises `Stop` if the run must stop.

        Raises:
            Stop: The store was unavailable for too long; `overdue` says why.
            MentorgradError: Any error of `call` that is not retryable.
        """
        began = self._clock()
        pauses = backoff(FIRST_PAUSE, LONGEST_PAUSE)
        while True:
            try:
                return call()
            except MentorgradError as error:
                if not error.retryable:
                    raise
                log.warning("store_away", run_id=self._lease.run_id, error=error.message)
                if self._clock() - began > self._outage_policy.patience:
                    self.overdue = self._too_long(error)
                    raise Stop(StopKind.AWAY) from None
            check()
            self._given_up.wait(next(pauses))

    def flush(self) -> None:
        """Waits until everything queued is stored, however long the store is unavailable.

        Raises:
            Unavailable: The process must exit while the store is still unavailable.
            MentorgradError: The store rejected a write.
        """
        barrier = threading.Event()
        self._buffer.put(barrier)
        left_at: float | None = None
        while not barrier.wait(0.05):
            if not self._outage_policy.is_leaving():
                continue
            left_at = self._clock() if left_at is None else left_at
            if self.is_away and self._clock() - left_at > LEAVING_SECONDS:
                self._give_up()
                break
        self._raise()

    def close(self) -> None:
        """Stores everything queued and ends the thread; never raises `MentorgradError`."""
        with contextlib.suppress(MentorgradError):
            if self._failure is None:
                self.flush()
        self._buffer.close()
        # A thread that hangs in a call of the store is abandoned (it is a daemon thread).
        self._thread.join(1.0 if self._given_up.is_set() else None)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _raise(self) -> None:
        if self._failure is not None:
            if isinstance(self._failure, MentorgradError):
                raise self._failure
            raise InternalError("writing the run's events failed") from self._failure

    def _hold_back(self) -> bool:
        """Whether `put` waits while the buffer is full: yes, unless the run must pause, an error
        occurred, or the process must exit while the store is unavailable."""
        self._judge()
        is_left = self._outage_policy.is_leaving() and self.is_away
        return not (is_left or self.overdue or self._failure)

    def _judge(self) -> None:
        if self.overdue:
            return
        trouble = self._trouble
        if self.waited() > self._outage_policy.patience:
            self.overdue = self._too_long(trouble)
        elif trouble is not None and self._buffer.is_full:
            size = self._outage_policy.spool_bytes / (1 << 20)
            self.overdue = (
                f"the run store was unavailable and {size:.3g} MiB waited to be written "
                f"({_said(trouble)}); resume the run to continue"
            )

    def _too_long(self, trouble: MentorgradError | None) -> str:
        why = _said(trouble) if trouble is not None else "no response"
        return (
            f"the run store was unavailable for over {self._outage_policy.patience:g} s ({why}); "
            "resume the run to continue"
        )

    def waited(self) -> float:
        """Seconds that the write in progress has taken so far; 0 without one."""
        since = self._since
        return 0.0 if since is None else self._clock() - since

    def _give_up(self) -> None:
        trouble = self._trouble
        said = "the run store does not respond"
        if trouble is not None:
            said = (trouble.told or trouble).message
        self._failure = Unavailable(f"not all events were recorded: {said}")
        self._given_up.set()

    # -- the writer's thread ------------------------------------------------------------------

    def _write(self) -> None:
        while (batch := self._buffer.take()) is not None:
            # After a permanent failure nothing more is written, and barriers are set at once.
            if isinstance(batch, threading.Event):
                batch.set()
            elif self._failure is None:
                self._store_patiently(batch)
            self._buffer.done()

    def _store_patiently(self, batch: WriteBatch) -> None:
        began = self._since = self._clock()
        for pause in backoff(FIRST_PAUSE, LONGEST_PAUSE):
            try:
                self._store_batch(batch)
                break
            except Exception as error:
                if not isinstance(error, MentorgradError) or not error.retryable:
                    log.error("recorder_failed", run_id=self._lease.run_id, error=str(error))
                    self._failure = error
                    break
                if self._trouble is None:
                    log.warning("store_away", run_id=self._lease.run_id, error=error.message)
                self._trouble = error
            if self._given_up.wait(pause):
                break
        if self._trouble is not None and self._failure is None:
            away = round(self._clock() - began, 3)
            log.info("store_back", run_id=self._lease.run_id, seconds=away)
        self._since = self._trouble = None

    def _store_batch(self, batch: WriteBatch) -> None:
        run_id, attempt = self._lease.run_id, self._lease.attempt
        if isinstance(batch, Prune):
            self._store.prune_checkpoints(run_id, attempt, batch.keep)
        elif isinstance(batch, Records) and batch.events:
            self._store.append(run_id, attempt, batch.events, batch.files)
            self._stored(batch.events)
        elif isinstance(batch, Records):
            for file in batch.files:
                self._store.put_blob(
                    run_id, attempt, file.name, file.data, checkpoint=file.checkpoint
                )


def _said(trouble: MentorgradError) -> str:
    """What the run's readers are told."""
    return f"{trouble.reason}: {(trouble.told or trouble).message}"
