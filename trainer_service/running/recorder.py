"""Writes a run's events from a thread of its own, in order; a store that is away is waited for.

While the store is away the run goes on, and what it records waits in a write buffer. When the
buffer is full, or the store was away for longer than the policy allows, the run is to stop at its
next step boundary: `check` says so. What waits is written in order when the store is back, the
pause that was made of it included.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import structlog

from mentorgrad.domain.event import Payload, RunEvent
from mentorgrad.errors import InternalError, MentorgradError, Unavailable
from run_store.protocols import Lease, RunWriter
from trainer_service.running.stop_control import Stop, StopKind
from trainer_service.running.write_buffer import Blob, Prune, WriteBatch, WriteBuffer

log = structlog.get_logger(__name__)

T = TypeVar("T")

BATCH = 64
"""Most events of one append."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between two tries to write."""
SILENT_SECONDS = 5.0
"""A store that takes longer over one write counts as away, though it has refused nothing."""
LEAVING_SECONDS = 5.0
"""How long a process that is to end still waits for a store that is away."""


@dataclass(frozen=True)
class StoreOutagePolicy:
    """How a store's absence is borne."""

    spool_bytes: int = 64 << 20
    """What may wait to be written."""
    patience: float = 300.0
    """Seconds that the store may be away before the run is paused."""
    is_leaving: Callable[[], bool] = lambda: False
    """Whether the process is to end soon, be the store back or not."""


class Recorder:
    """Numbers events and has them stored.

    `put` and `blob` return at once, unless the buffer is full and the store merely slow; what goes
    wrong for good in the writer's thread is raised by the next call of any method. Appending twice
    is a no-op, so a write whose answer was lost is simply made again.

    Args:
        store: Where to.
        lease: The run, the attempt and the last seq.
        outage_policy: What is borne of the store.
        stored: Told of the events of every write, from the writer's thread.
        clock: Seconds.
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
        self._buffer = WriteBuffer(self._outage_policy.spool_bytes, BATCH)
        self._failure: BaseException | None = None
        self._trouble: MentorgradError | None = None
        self._since: float | None = None
        self._given_up = threading.Event()
        self.overdue = ""
        """Why the run cannot go on without its store; empty while it can."""
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
        """Queues a file; it is stored before any event that is put after it."""
        self._raise()
        self._buffer.put(Blob(name, data, checkpoint), self._hold_back)

    def prune(self, keep: Sequence[str]) -> None:
        """Queues the removal of all checkpoints but these."""
        self._raise()
        self._buffer.put(Prune(tuple(keep)))

    def check(self) -> None:
        """Cheap enough for every step.

        Raises:
            Stop: The run is to pause because its store is away; `overdue` says why.
        """
        self._judge()
        if self.overdue:
            raise Stop(StopKind.AWAY)

    @property
    def is_away(self) -> bool:
        """Whether the store refuses to write, or is silent."""
        return self._trouble is not None or self.waited() > SILENT_SECONDS

    def read(self, call: Callable[[], T], check: Callable[[], None]) -> T:
        """What `call` reads from the store, asked again while that is away.

        Args:
            call: Reads.
            check: Called between two tries; raises `Stop` when the run is to stop.

        Raises:
            Stop: The store was away for too long; `overdue` says why.
        """
        began = self._clock()
        for pause in _pauses():
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
            self._given_up.wait(pause)
        raise AssertionError("the pauses have no end")

    def flush(self) -> None:
        """Returns when all that was queued is stored, however long its store is away.

        Raises:
            Unavailable: The process is to end, and the store did not come back before that.
            MentorgradError: It cannot be stored.
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
        """Stores what is queued and ends the thread; raises nothing."""
        with contextlib.suppress(MentorgradError):
            if self._failure is None:
                self.flush()
        self._buffer.close()
        # A thread that hangs in a store it has given up is left behind.
        self._thread.join(1.0 if self._given_up.is_set() else None)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _raise(self) -> None:
        if self._failure is not None:
            if isinstance(self._failure, MentorgradError):
                raise self._failure
            raise InternalError("the recorder failed") from self._failure

    def _hold_back(self) -> bool:
        """Whether a run that outpaces its store waits for it; one that stops is in nobody's way,
        and one whose process is to end waits for no store that is away."""
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
                f"the run store was away and {size:.3g} MiB waited to be written "
                f"({trouble.reason}: {trouble.message}); resume the run to go on"
            )

    def _too_long(self, trouble: MentorgradError | None) -> str:
        why = f"{trouble.reason}: {trouble.message}" if trouble is not None else "it was silent"
        return (
            f"the run store was away for over {self._outage_policy.patience:g} s ({why}); "
            "resume the run to go on"
        )

    def waited(self) -> float:
        """Seconds that the present write has taken so far."""
        since = self._since
        return 0.0 if since is None else self._clock() - since

    def _give_up(self) -> None:
        said = self._trouble.message if self._trouble is not None else "the run store is silent"
        self._failure = Unavailable(f"not all was recorded: {said}")
        self._given_up.set()

    # -- the writer's thread ------------------------------------------------------------------

    def _write(self) -> None:
        while (batch := self._buffer.take()) is not None:
            # After a failure nothing is written any more, and barriers open at once.
            if isinstance(batch, threading.Event):
                batch.set()
            elif self._failure is None:
                self._store_patiently(batch)
            self._buffer.done()

    def _store_patiently(self, batch: WriteBatch) -> None:
        began = self._since = self._clock()
        for pause in _pauses():
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
        if isinstance(batch, Blob):
            self._store.put_blob(
                run_id, attempt, batch.name, batch.data, checkpoint=batch.checkpoint
            )
        elif isinstance(batch, Prune):
            self._store.prune_checkpoints(run_id, attempt, batch.keep)
        elif isinstance(batch, tuple):
            self._store.append(run_id, attempt, batch)
            self._stored(batch)


def _pauses() -> Iterator[float]:
    """Seconds between tries, without end."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * 2, LONGEST_PAUSE)
