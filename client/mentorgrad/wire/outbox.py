"""What waits to be told to a mentor, and who waits for its answers; for any thread."""

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

_LINE_ITEMS = 1_024
"""More than a replay can have, so that a replay never overflows."""
_LINE_BYTES = 32 * 1024 * 1024


@dataclass(eq=False)
class Pending:
    """A request that somebody waits for; settled once, by whoever is first."""

    request: ProposalRequest
    """What is asked."""
    target: str
    """Of whom, for the words of an outcome."""
    future: Future[Answer] = field(default_factory=Future)
    """The answer, or a typed outcome; it never holds an error."""
    started: float = field(default_factory=time.monotonic)
    """When it was asked."""

    @property
    def timeout(self) -> float:
        """Seconds that the caller will wait."""
        return self.request.timeout.total_seconds()

    @property
    def left(self) -> float:
        """Seconds of that which are left."""
        return self.started + self.timeout - time.monotonic()

    def timed_out(self) -> Answer:
        """The outcome when the time is over."""
        detail = f"no answer from {self.target} within {self.timeout:g} s"
        return Answer(self.request.request_id, AnswerStatus.TIMED_OUT, detail=detail)

    def settle(self, status: AnswerStatus, detail: str) -> None:
        """Answers with an outcome without proposals."""
        self.give(Answer(self.request.request_id, status, detail=detail))

    def give(self, answer: Answer) -> None:
        """Answers, unless somebody did already."""
        with contextlib.suppress(Exception):
            self.future.set_result(answer)


Item = Batch | Outcomes | Pending
"""What can be lined up."""

Told = TypeVar("Told", Batch, Outcomes)


class Outbox:
    """The line to a mentor, and the memory that a new session is told from.

    Locked; every method may be called from any thread and returns at once. While there is no
    session nothing is lined up. A line that grows too long is dropped: the session is behind then,
    and has to be opened again.

    Args:
        target: ``HOST:PORT`` of the mentor, for the words of outcomes.
        nudge: Told that there is something to do; must not block.
    """

    def __init__(self, target: str, nudge: Callable[[], None]) -> None:
        self._target = target
        self._nudge = nudge
        self._lock = threading.Lock()
        self._memory = ReplayBuffer()
        self._line: deque[Item] = deque()
        self._line_bytes = 0
        self._overflow = False
        self._connected = False
        self._absent_since = time.monotonic()
        self._trouble = "no session yet"
        self._refusal: MentorgradError | None = None
        self._pending: dict[str, Pending] = {}
        self._closed = False

    # -- the caller's side --------------------------------------------------------------------

    def tell(self, item: Told) -> None:
        """Tells the mentor, at once or when there is a session.

        A batch's seq is set when it is sent. What a mentor would refuse ends every session that
        it is told in, so check it first.
        """
        with self._lock:
            if isinstance(item, Batch):
                self._tell_batch(item)
            else:
                self._memory.keep_outcomes(item)
                self._line_up(item)
        self._nudge()

    @contextlib.contextmanager
    def asking(self, request: ProposalRequest, pool: Sequence[Candidate] = ()) -> Iterator[Pending]:
        """Asks; after the block an answer is of no more use, and one that comes is dropped.

        Args:
            request: What is asked. A second answer to its id is never delivered.
            pool: Candidates that the mentor must know of; those it was not told are told first.
        """
        pending = Pending(request, self._target)
        with self._lock:
            if self._closed:
                pending.settle(AnswerStatus.CANCELLED, "closed")
            else:
                untold = self._memory.missing(pool)
                if untold:
                    self._tell_batch(Batch(stage=request.stage, candidates=untold))
                self._pending[request.request_id] = pending
                self._line_up(pending)
        self._nudge()
        try:
            yield pending
        finally:
            with self._lock:
                self._pending.pop(request.request_id, None)

    def cancel(self) -> None:
        """Answers what is pending as cancelled."""
        with self._lock:
            pending = list(self._pending.values())
        for item in pending:
            item.settle(AnswerStatus.CANCELLED, "cancelled by the caller")

    def close(self) -> None:
        """Cancels what is pending and all that will be asked."""
        with self._lock:
            self._closed = True
        self.cancel()

    @property
    def is_closed(self) -> bool:
        """Whether nothing will be told any more."""
        return self._closed

    def _tell_batch(self, batch: Batch) -> None:
        self._memory.keep(batch)
        for piece in pieces(batch):
            self._line_up(piece)

    def _line_up(self, item: Item) -> None:
        """Adds to the line if there is a session; under the lock."""
        if not self._connected or self._overflow:
            return
        self._line.append(item)
        self._line_bytes += _size(item)
        if len(self._line) > _LINE_ITEMS or self._line_bytes > _LINE_BYTES:
            self._overflow = True
            self._clear_line()

    def _clear_line(self) -> None:
        self._line.clear()
        self._line_bytes = 0

    # -- the session's side -------------------------------------------------------------------

    @property
    def refusal(self) -> MentorgradError | None:
        """What the mentor finds wrong with the opening, or with us; None once a session is open."""
        return self._refusal

    @property
    def is_behind(self) -> bool:
        """Whether the line was dropped because it grew too long."""
        return self._overflow

    @property
    def has_pending(self) -> bool:
        """Whether somebody waits for an answer."""
        return bool(self._pending)

    def begin(self) -> None:
        """A session is open: lines up everything that is remembered, then what is asked."""
        with self._lock:
            self._connected = True
            self._refusal = None
            self._clear_line()
            self._line.extend(self._memory.replay())
            self._line.extend(self._pending.values())
            self._line_bytes = sum(map(_size, self._line))

    def lose(self, trouble: str, refusal: MentorgradError | None) -> bool:
        """There is no session; whether there was one until now.

        Args:
            trouble: Why, in one line.
            refusal: The same, where the caller's own words are what is wrong: who waits for an
                answer is told at once, for a session that opens again would hide it. What is wrong
                with the opening stays wrong until the mentor is another one.
        """
        with self._lock:
            was_connected = self._connected
            if was_connected:
                self._absent_since = time.monotonic()
            self._connected = False
            self._overflow = False
            self._clear_line()
            self._trouble = trouble
            self._refusal = None if was_connected else refusal
            waiting = list(self._pending.values()) if refusal is not None else []
        for item in waiting:
            item.settle(AnswerStatus.REFUSED, trouble)
        return was_connected

    def settle_absent(self, patience: float) -> None:
        """Answers requests that have waited for a session for longer than `patience` seconds."""
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
                item.settle(AnswerStatus.UNAVAILABLE, f"no mentor at {self._target}: {trouble}")

    def first(self) -> Item | None:
        """What is to be sent next; it stays in the line."""
        with self._lock:
            return self._line[0] if self._line else None

    def take(self, item: Item) -> bool:
        """Takes the first item out of the line; False if the line was dropped meanwhile."""
        with self._lock:
            if not self._line or self._line[0] is not item:
                return False
            self._line.popleft()
            self._line_bytes -= _size(item)
            return True

    def waiting_for(self, request_id: str) -> Pending | None:
        """Who waits for the answer to a request; None if nobody does any more."""
        with self._lock:
            return self._pending.get(request_id)


def _size(item: Item) -> int:
    if not isinstance(item, Batch):
        return 0
    arrays = (item.parameters, item.embeddings, item.exemplar_losses)
    return sum(array.nbytes for array in arrays if array is not None)
