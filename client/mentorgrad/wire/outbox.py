"""Thread-safe queue of data and requests for a mentor, with the pending requests."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar

from mentorgrad.domain.advice import Answer, AnswerStatus, Batch, Outcomes, ProposalRequest
from mentorgrad.domain.run import Candidate
from mentorgrad.errors import MentorgradError
from mentorgrad.wire.replay import ReplayBuffer, pieces

_QUEUE_ITEMS = 1_024
"""Maximum queued items; more than a replay can have, so that a replay never overflows."""
_QUEUE_BYTES = 32 * 1024 * 1024


@dataclass(eq=False)
class Pending:
    """A request whose answer is pending; only the first answer counts."""

    request: ProposalRequest
    """The request."""
    target: str
    """``HOST:PORT`` of the mentor, for messages."""
    future: Future[Answer] = field(default_factory=Future)
    """The answer, with or without proposals; never an exception."""
    started: float = field(default_factory=time.monotonic)
    """Time of the request, `time.monotonic`."""

    @property
    def timeout(self) -> float:
        """Timeout of the request, seconds."""
        return self.request.timeout.total_seconds()

    @property
    def left(self) -> float:
        """Remaining time, seconds."""
        return self.started + self.timeout - time.monotonic()

    def timed_out(self) -> Answer:
        """The answer after a timeout."""
        detail = f"no answer from {self.target} within {self.timeout:g} s"
        return Answer(self.request.request_id, AnswerStatus.TIMED_OUT, detail=detail)

    def settle(self, status: AnswerStatus, detail: str) -> None:
        """Answers with a status without proposals."""
        self.give(Answer(self.request.request_id, status, detail=detail))

    def give(self, answer: Answer) -> None:
        """Sets the answer, unless there is one already."""
        with contextlib.suppress(Exception):
            self.future.set_result(answer)


Item = Batch | Outcomes | Pending
"""An item of the queue."""

Told = TypeVar("Told", Batch, Outcomes)


class Outbox:
    """Queue of items to send to a mentor, with a buffer to replay them after a reconnect.

    Thread-safe; no method blocks. Without a stream, nothing is queued. If the queue overflows, it
    is discarded, and the stream must be re-opened (`is_behind`).

    Args:
        target: ``HOST:PORT`` of the mentor, for messages.
        nudge: Called when there is something to send; must not block.
    """

    def __init__(self, target: str, nudge: Callable[[], None]) -> None:
        self._target = target
        self._nudge = nudge
        self._lock = threading.Lock()
        self._memory = ReplayBuffer()
        self._queue: deque[Item] = deque()
        self._queue_bytes = 0
        self._overflow = False
        self._connected = False
        self._absent_since = time.monotonic()
        self._trouble = "not connected yet"
        self._refusal: MentorgradError | None = None
        self._pending: dict[str, Pending] = {}
        self._closed = False

    # -- for the session ----------------------------------------------------------------------

    def tell(self, item: Told) -> None:
        """Sends data to the mentor, now or when the stream opens.

        A batch's seq is set when it is sent. Validate the item first: invalid data would end every
        stream in which it is replayed.
        """
        with self._lock:
            if isinstance(item, Batch):
                self._tell_batch(item)
            else:
                self._memory.keep_outcomes(item)
                self._enqueue(item)
        self._nudge()

    @contextlib.contextmanager
    def asking(self, request: ProposalRequest, pool: Sequence[Candidate] = ()) -> Iterator[Pending]:
        """Sends a request; an answer that arrives after the block is dropped.

        Args:
            request: The request. A second answer to its id is never delivered.
            pool: Candidates that the mentor must know; those not sent yet are sent first.
        """
        pending = Pending(request, self._target)
        with self._lock:
            if self._closed:
                pending.settle(AnswerStatus.CANCELLED, "the session is closed")
            else:
                untold = self._memory.missing(pool)
                if untold:
                    self._tell_batch(Batch(stage=request.stage, candidates=untold))
                self._pending[request.request_id] = pending
                self._enqueue(pending)
        self._nudge()
        try:
            yield pending
        finally:
            with self._lock:
                self._pending.pop(request.request_id, None)

    def cancel(self) -> None:
        """Answers pending requests as cancelled."""
        with self._lock:
            pending = list(self._pending.values())
        for item in pending:
            item.settle(AnswerStatus.CANCELLED, "cancelled by the caller")

    def close(self) -> None:
        """Cancels pending and later requests."""
        with self._lock:
            self._closed = True
        self.cancel()

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def _tell_batch(self, batch: Batch) -> None:
        self._memory.keep(batch)
        for piece in pieces(batch):
            self._enqueue(piece)

    def _enqueue(self, item: Item) -> None:
        """Appends to the queue if there is a stream; the caller holds the lock."""
        if not self._connected or self._overflow:
            return
        self._queue.append(item)
        self._queue_bytes += _size(item)
        if len(self._queue) > _QUEUE_ITEMS or self._queue_bytes > _QUEUE_BYTES:
            self._overflow = True
            self._clear_queue()

    def _clear_queue(self) -> None:
        self._queue.clear()
        self._queue_bytes = 0

    # -- for the stream -----------------------------------------------------------------------

    @property
    def refusal(self) -> MentorgradError | None:
        """Why the mentor rejected the opening request or client; None while a stream is open."""
        return self._refusal

    @property
    def is_behind(self) -> bool:
        """Whether the queue overflowed and was discarded."""
        return self._overflow

    @property
    def has_pending(self) -> bool:
        """Whether a request is pending."""
        return bool(self._pending)

    def begin(self) -> None:
        """After a stream opened: queues the replay buffer, then the pending requests."""
        with self._lock:
            self._connected = True
            self._refusal = None
            self._clear_queue()
            self._queue.extend(self._memory.replay())
            self._queue.extend(self._pending.values())
            self._queue_bytes = sum(map(_size, self._queue))

    def lose(self, trouble: str, refusal: MentorgradError | None) -> bool:
        """Records that the stream is lost; returns whether there was one.

        Args:
            trouble: Why, in one line.
            refusal: The error, if the mentor rejected the client's input. Pending requests are
                then answered at once, since a re-opened stream would hide the error. A rejected
                opening request keeps being rejected until the mentor changes.
        """
        with self._lock:
            was_connected = self._connected
            if was_connected:
                self._absent_since = time.monotonic()
            self._connected = False
            self._overflow = False
            self._clear_queue()
            self._trouble = trouble
            self._refusal = None if was_connected else refusal
            waiting = list(self._pending.values()) if refusal is not None else []
        for item in waiting:
            item.settle(AnswerStatus.REFUSED, trouble)
        return was_connected

    def settle_absent(self, patience: float) -> None:
        """Answers requests that have waited for a stream for longer than `patience` seconds."""
        now = time.monotonic()
        with self._lock:
            if self._connected:
                return
            waiting = list(self._pending.values())
            refused, trouble, since = self._refusal is not None, self._trouble, self._absent_since
        for item in waiting:
            if refused:
                item.settle(AnswerStatus.REFUSED, trouble)
            elif now - max(since, item.started) > patience:
                item.settle(
                    AnswerStatus.UNAVAILABLE,
                    f"no mentor at {self._target}: {trouble}",
                )

    def first(self) -> Item | None:
        """The next item to send, not removed from the queue; None: the queue is empty."""
        with self._lock:
            return self._queue[0] if self._queue else None

    def take(self, item: Item) -> bool:
        """Removes the first item; False if the queue was discarded meanwhile."""
        with self._lock:
            if not self._queue or self._queue[0] is not item:
                return False
            self._queue.popleft()
            self._queue_bytes -= _size(item)
            return True

    def waiting_for(self, request_id: str) -> Pending | None:
        """The pending request with this id, if any."""
        with self._lock:
            return self._pending.get(request_id)


def _size(item: Item) -> int:
    if not isinstance(item, Batch):
        return 0
    arrays = (item.parameters, item.embeddings, item.exemplar_losses)
    return sum(array.nbytes for array in arrays if array is not None)
