"""The mentor that lives in another process: the client side of an Advise session.

The run's thread talks to it by plain calls; a thread of its own keeps the session up:

    observe, report ──▶ memory (bounded) ──▶ line ──▶ stream ──▶ mentor
    propose ──────────▶ pending ────────────▶ line ──▶ stream ──▶ mentor ──▶ answer ──▶ propose

While there is no session, nothing is lined up: what was told is remembered, best candidates and
latest snapshots first, and told again when a session opens. A line that grows too long has the
same end: it is dropped, and the session is opened again and told what is remembered. So the run
never waits for a mentor but in `propose`, and there never longer than it says.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
import structlog

from mentorgrad.errors import InvalidInput, MentorgradError, Unavailable
from mentorgrad.model.advice import (
    Accepted,
    AdviseOpen,
    Answer,
    AnswerStatus,
    Batch,
    MentorInfo,
    Outcomes,
    ProposalRequest,
    Wants,
)
from mentorgrad.schema import violations
from mentorgrad.v1 import mentor_service_pb2 as pb
from mentorgrad.v1.mentor_service_pb2_grpc import MentorServiceStub
from mentorgrad.wire.channels import stream_channel, unary_channel
from mentorgrad.wire.codec import from_message, to_message
from mentorgrad.wire.status import from_rpc_error
from trainer_service.mentors.memory import Memory, pieces
from trainer_service.protocols import Scored

log = structlog.get_logger(__name__)

_LINE_ITEMS = 1_024
"""More than a replay can have, so that a replay never overflows."""
_LINE_BYTES = 32 * 1024 * 1024
_WINDOW = 32
"""Batches that may be under way without an acknowledgement."""
_TICK = 0.1
"""Seconds between two looks at what time alone changes."""


@dataclass(frozen=True)
class Patience:
    """How long the parts of a session may take, in seconds."""

    open: float = 5.0
    """From the open to the accepted message."""
    acknowledge: float = 10.0
    """From a batch to its acknowledgement; after this the mentor counts as hung."""
    absent: float = 3.0
    """How long a request waits for a session before it is answered ``unavailable``."""
    first_pause: float = 0.1
    """Before the second try to open."""
    longest_pause: float = 2.0
    """Between later tries."""
    close: float = 2.0
    """For the thread to end; it is left behind after that."""


class _Lost(Exception):
    """The session is over; says why."""


@dataclass(eq=False)
class _Pending:
    """A request that the run waits for."""

    request: ProposalRequest
    deadline: float
    started: float = field(default_factory=time.monotonic)
    future: Future[Answer] = field(default_factory=Future)

    def settle(self, status: AnswerStatus, detail: str) -> None:
        self.give(Answer(self.request.request_id, status, detail=detail))

    def give(self, answer: Answer) -> None:
        with contextlib.suppress(Exception):  # somebody settled it first
            self.future.set_result(answer)


class RemoteMentor:
    """See the module; satisfies `trainer_service.protocols.Mentor`.

    Args:
        name: The mentor's name, for the records of its answers.
        target: ``HOST:PORT`` of the mentor service.
        opened: What every session is opened with.
        patience: How long the parts of a session may take.
    """

    def __init__(
        self, name: str, target: str, opened: AdviseOpen, patience: Patience | None = None
    ) -> None:
        self.wants = Wants()
        self._name = name
        self._target = target
        self._opened = opened
        self._patience = patience or Patience()
        self._lock = threading.Lock()
        self._memory = Memory()
        self._line: deque[Batch | Outcomes | _Pending] = deque()
        self._line_bytes = 0
        self._overflow = False
        self._connected = False
        self._absent_since = time.monotonic()
        self._trouble = "no session yet"
        self._refusal = ""
        self._pending: dict[str, _Pending] = {}
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._under_way: deque[tuple[int, float]] = (
            deque()
        )  # seq and time of unacknowledged batches
        self._opened_once = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run()), name=f"mentor-{name}", daemon=True
        )
        self._thread.start()

    # -- the run's side -----------------------------------------------------------------------

    def wait_open(self, timeout: float) -> bool:
        """Waits for the first session, so that `wants` is known; whether there is one."""
        return self._opened_once.wait(timeout)

    @property
    def alive(self) -> bool:
        """Whether its thread still runs."""
        return self._thread.is_alive()

    def observe(self, batch: Batch) -> None:
        """See `Mentor`; never blocks."""
        if not self._is_sendable(batch):
            return
        with self._lock:
            self._memory.keep(batch)
            for piece in pieces(batch):
                self._line_up(piece)
        self._nudge()

    def report(self, outcomes: Outcomes) -> None:
        """See `Mentor`; never blocks."""
        if not self._is_sendable(outcomes):
            return
        with self._lock:
            self._memory.keep_outcomes(outcomes)
            self._line_up(outcomes)
        self._nudge()

    def _is_sendable(self, item: Batch | Outcomes) -> bool:
        """Whether a mentor would take it; what it refuses would end every session it is told in."""
        broken = next(violations(item), None)
        if broken is not None:
            log.warning("not_sent_to_mentor", target=self._target, why=str(broken))
        return broken is None

    def propose(
        self, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> Answer:
        """See `Mentor`; waits for at most the request's timeout."""
        timeout = request.timeout.total_seconds()
        pending = _Pending(request, time.monotonic() + timeout)
        with self._lock:
            if self._closed:
                return Answer(request.request_id, AnswerStatus.CANCELLED, detail="closed")
            told = [incumbent.candidate, *(item.candidate for item in pool)]
            untold = self._memory.missing(told)
            if untold:
                batch = Batch(stage=request.stage, candidates=untold)
                self._memory.keep(batch)
                self._line_up(batch)
            self._pending[request.request_id] = pending
            self._line_up(pending)
        self._nudge()
        try:
            answer = pending.future.result(timeout)
        except FutureTimeoutError:
            answer = Answer(
                request.request_id,
                AnswerStatus.TIMED_OUT,
                detail=f"no answer from {self._target} within {timeout:g} s",
            )
        finally:
            with self._lock:
                self._pending.pop(request.request_id, None)
        records = tuple(replace(record, mentor=self._name) for record in answer.records)
        return replace(answer, records=records)

    def cancel(self) -> None:
        """See `Mentor`; from any thread."""
        with self._lock:
            pending = list(self._pending.values())
        for item in pending:
            item.settle(AnswerStatus.CANCELLED, "cancelled by the caller")

    def close(self) -> None:
        """Ends the session, whatever the mentor does; a second time is a no-op."""
        with self._lock:
            self._closed = True
        self.cancel()
        self._nudge()
        self._thread.join(self._patience.close)

    def _line_up(self, item: Batch | Outcomes | _Pending) -> None:
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

    def _nudge(self) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._wake.set)

    # -- the session's side, on the thread's own loop ------------------------------------------

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        keeper = asyncio.create_task(self._keep_open())
        while not self._closed:
            await asyncio.sleep(_TICK)
            self._settle_absent()
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)

    def _settle_absent(self) -> None:
        """Answers requests that have waited for a session for long enough."""
        now = time.monotonic()
        with self._lock:
            if self._connected:
                return
            waiting = list(self._pending.values())
            refusal, trouble, since = self._refusal, self._trouble, self._absent_since
        for item in waiting:
            if refusal:
                item.settle(AnswerStatus.REFUSED, refusal)
            elif now - max(since, item.started) > self._patience.absent:
                item.settle(AnswerStatus.UNAVAILABLE, f"no mentor at {self._target}: {trouble}")

    async def _keep_open(self) -> None:
        pause = self._patience.first_pause
        while True:
            began = time.monotonic()
            try:
                await self._session()
            except Exception as error:
                self._lose(error)
            # A session that ends as soon as it opens is no reason to hurry.
            if time.monotonic() - began > self._patience.longest_pause:
                pause = self._patience.first_pause
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, self._patience.longest_pause)

    def _lose(self, error: Exception) -> None:
        """Notes that there is no session, and why."""
        if isinstance(error, grpc.aio.AioRpcError):
            error = from_rpc_error(error)
        if not isinstance(error, (MentorgradError, _Lost)):
            log.error("mentor_session_failed", target=self._target, exc_info=error)
        with self._lock:
            if self._connected:
                self._absent_since = time.monotonic()
                log.info("mentor_lost", target=self._target, reason=str(error))
            self._connected = False
            self._overflow = False
            self._clear_line()
            self._trouble = str(error) or type(error).__name__
            # What is wrong with our own words stays wrong until the mentor is another one.
            self._refusal = self._trouble if isinstance(error, InvalidInput) else ""
        if self._refusal:  # at once: a session that opens again would hide what was refused
            self._settle_absent()

    async def _session(self) -> None:
        """One session from open to loss; returns by an exception only."""
        channel = stream_channel(self._target)
        try:
            call = MentorServiceStub(channel).Advise()  # type: ignore[no-untyped-call]
            try:
                async with asyncio.timeout(self._patience.open):
                    accepted = await self._open(call)
            except TimeoutError:
                raise _Lost(f"it did not accept within {self._patience.open:g} s") from None
            self._begin(accepted)
            tasks = {asyncio.create_task(self._read(call)), asyncio.create_task(self._write(call))}
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                call.cancel()
        finally:
            await channel.close()

    async def _open(self, call: Any) -> Accepted:
        with contextlib.suppress(asyncio.InvalidStateError):  # over already; reading says why
            await call.write(pb.AdviseRequest(open=to_message(self._opened)))
        message = await call.read()
        if message is grpc.aio.EOF or message.WhichOneof("message") != "accepted":
            raise _Lost("it did not accept the session")
        return from_message(Accepted, message.accepted)

    def _begin(self, accepted: Accepted) -> None:
        """Tells the new session everything, then what is asked."""
        with self._lock:
            self.wants = accepted.wants
            self._connected = True
            self._refusal = ""
            self._clear_line()
            self._under_way.clear()
            self._line.extend(self._memory.replay())
            self._line.extend(self._pending.values())
            self._line_bytes = sum(map(_size, self._line))
        self._opened_once.set()
        log.info("mentor_session_open", target=self._target, model=accepted.model)

    async def _write(self, call: Any) -> None:
        seq = 0
        while True:
            self._wake.clear()
            item = self._next()
            if item is None or (isinstance(item, Batch) and len(self._under_way) >= _WINDOW):
                await self._pause()
                continue
            with self._lock:
                if not self._line or self._line[0] is not item:
                    continue  # the line was dropped meanwhile
                self._line.popleft()
                self._line_bytes -= _size(item)
            if isinstance(item, Batch):
                seq += 1
                self._under_way.append((seq, time.monotonic()))
            message = _request(item, seq)
            if message is not None:
                await self._send(call, message)

    def _next(self) -> Batch | Outcomes | _Pending | None:
        with self._lock:
            if self._overflow:
                raise _Lost("it takes batches in too slowly")
            return self._line[0] if self._line else None

    async def _pause(self) -> None:
        """Waits for something to do; notices a mentor that acknowledges nothing."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TICK):
                await self._wake.wait()
        if self._under_way and (
            time.monotonic() - self._under_way[0][1] > self._patience.acknowledge
        ):
            raise _Lost(f"it acknowledged nothing for {self._patience.acknowledge:g} s")

    async def _send(self, call: Any, message: Any) -> None:
        try:
            async with asyncio.timeout(self._patience.acknowledge):
                await call.write(message)
        except TimeoutError:
            raise _Lost(f"it read nothing for {self._patience.acknowledge:g} s") from None
        except asyncio.InvalidStateError:
            # The call is over; the reader learns why.
            await asyncio.sleep(_TICK)
            raise _Lost("the stream was cut") from None

    async def _read(self, call: Any) -> None:
        closing = ""
        while True:
            if closing and not self._pending:
                raise _Lost(closing)
            message = await call.read()
            if message is grpc.aio.EOF:
                raise _Lost(closing or "it ended the session")
            kind = message.WhichOneof("message")
            if kind == "batch_acknowledged":
                self._acknowledge(message.batch_acknowledged.seq)
            elif kind == "answer":
                self._deliver(message.answer)
            elif kind == "closing":
                closing = message.closing.reason or "it is stopping"

    def _acknowledge(self, seq: int) -> None:
        while self._under_way and self._under_way[0][0] <= seq:
            self._under_way.popleft()
        self._wake.set()

    def _deliver(self, message: Any) -> None:
        with self._lock:
            pending = self._pending.get(message.request_id)
        if pending is None:
            return  # nobody waits for it any more
        try:
            pending.give(from_message(Answer, message, checked=True))
        except InvalidInput as error:
            pending.settle(AnswerStatus.UNUSABLE, f"malformed answer: {error.message}")


def _request(item: Batch | Outcomes | _Pending, seq: int) -> Any:
    """The message for an item of the line; None if nobody waits for it any more."""
    if isinstance(item, Batch):
        return pb.AdviseRequest(batch=to_message(replace(item, seq=seq)))
    if isinstance(item, Outcomes):
        return pb.AdviseRequest(outcomes=to_message(item))
    left = item.deadline - time.monotonic()
    if left <= 0 or item.future.done():
        return None
    request = replace(item.request, timeout=timedelta(seconds=left))
    return pb.AdviseRequest(request=to_message(request))


def _size(item: Batch | Outcomes | _Pending) -> int:
    parameters = item.parameters if isinstance(item, Batch) else None
    return 0 if parameters is None else parameters.nbytes


async def probe(target: str, timeout: float) -> MentorInfo:
    """What a mentor is and can do.

    Args:
        target: ``HOST:PORT``.
        timeout: Seconds to wait.

    Raises:
        Unavailable: It does not answer in time.
    """
    async with unary_channel(target) as channel:
        stub = MentorServiceStub(channel)  # type: ignore[no-untyped-call]
        try:
            response = await stub.GetMentorInfo(pb.GetMentorInfoRequest(), timeout=timeout)
        except grpc.aio.AioRpcError as error:
            reason = from_rpc_error(error).message
            raise Unavailable(f"no mentor at {target}: {reason}") from None
    return from_message(MentorInfo, response.info)
