"""Client side of an Advise stream, with automatic reconnects and replay of the data sent.

Data and requests may come from any thread; a task on an event loop keeps the stream open:

    tell ───▶ replay buffer (bounded) ──▶ queue ──▶ stream ──▶ mentor
    asking ─▶ pending request ──────────▶ queue ──▶ stream ──▶ mentor ──▶ answer ──▶ pending

Without a stream, nothing is queued: data goes to the replay buffer, which keeps the best candidates
and the latest snapshots, and is sent when a stream opens. If the queue overflows, it is discarded,
the stream is re-opened, and the replay buffer is sent. So only `asking` ever waits for the mentor.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio

from mentorgrad.domain.advice import Accepted, AdviseOpen, Answer, AnswerStatus, Batch, Outcomes
from mentorgrad.errors import (
    InvalidInput,
    MentorgradError,
    PermissionDenied,
    Unauthenticated,
    Untrusted,
)
from mentorgrad.v1 import mentor_service_pb2 as pb
from mentorgrad.v1.mentor_service_pb2_grpc import MentorServiceStub
from mentorgrad.wire.codec import from_message, to_message
from mentorgrad.wire.connection import SHUT, Connection, is_shut
from mentorgrad.wire.error_mapping import from_rpc_error
from mentorgrad.wire.outbox import Item, Outbox
from mentorgrad.wire.reconnect import backoff

_WINDOW = 32
"""Maximum unacknowledged batches."""
_REFUSALS = (InvalidInput, Unauthenticated, PermissionDenied, Untrusted)
"""Errors that mean a rejection by the mentor, so that waiting does not help."""
_TICK = 0.1
"""Interval of timeout checks, seconds."""

Log = Callable[..., None]
"""``log(level, event, **facts)``: logs events of the stream."""


@dataclass(frozen=True)
class Patience:
    """Timeouts of a session, in seconds."""

    open: float = 5.0
    """Timeout from the open to the accepted message."""
    acknowledge: float = 10.0
    """Timeout of the acknowledgement of a batch; after it the mentor counts as hung."""
    absent: float = 3.0
    """How long a request waits for a connection before it is answered ``unavailable``."""
    first_pause: float = 0.1
    """Pause before the first reconnect."""
    longest_pause: float = 2.0
    """Maximum pause between reconnects."""
    close: float = 2.0
    """Timeout of closing; afterwards the session is abandoned."""


class _Lost(Exception):
    """The stream ended; the message says why."""


class AdviseStream:
    """Keeps an Advise stream open. Data and requests go through `outbox`, from any thread.

    Args:
        connect: Creates a connection to the mentor; each stream has its own.
        opened: Opening request of every stream.
        patience: Timeouts of the session.
        log: Logging function; by default it logs to the logger ``mentorgrad.session``.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        opened: AdviseOpen,
        patience: Patience | None = None,
        log: Log | None = None,
    ) -> None:
        self.accepted: Accepted | None = None
        """The mentor's latest reply to the opening request; None: not connected yet."""
        self.target = connect().target
        """``HOST:PORT`` of the mentor."""
        self.outbox = Outbox(self.target, self._nudge)
        """Accepts data and requests."""
        self._connect = connect
        self._opened = opened
        self._patience = patience or Patience()
        self._log = log or _log
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._unacknowledged: deque[tuple[int, float]] = deque()
        """Seq and time of the unacknowledged batches."""
        self._opened_once = threading.Event()
        self._settled = asyncio.Event()
        """Set once the mentor has accepted or rejected the opening request."""

    def wait_open(self, timeout: float) -> bool:
        """Blocks until the stream is open for the first time; returns whether it is. For other
        threads than the event loop's."""
        return self._opened_once.wait(timeout)

    def _nudge(self) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._wake.set)

    # -- on the event loop ---------------------------------------------------------------------

    async def start(self) -> None:
        """Starts to keep the stream open, on this event loop."""
        self._loop = asyncio.get_running_loop()
        self._tasks = [asyncio.create_task(self._keep_open()), asyncio.create_task(self._watch())]

    async def settled(self) -> None:
        """Waits until the mentor accepts or rejects the first stream, at most `Patience.open`
        seconds.

        Raises:
            InvalidInput: The mentor rejects the opening request.
            Unauthenticated, PermissionDenied: The mentor rejects the client's credentials.
            Untrusted: The TLS handshake failed.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience.open):
                await self._settled.wait()
        refusal = self.outbox.refusal
        if refusal is not None:
            raise refusal

    async def close(self) -> bool:
        """Closes the stream; returns whether it ended within `Patience.close` seconds."""
        self.outbox.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._patience.close)
        return not self.is_kept

    @property
    def is_kept(self) -> bool:
        """Whether the tasks that keep the stream open are still running."""
        return any(not task.done() for task in self._tasks)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            self.outbox.settle_absent(self._patience.absent)

    async def _keep_open(self) -> None:
        first, longest = self._patience.first_pause, self._patience.longest_pause
        pauses = backoff(first, longest)
        while True:
            began = time.monotonic()
            try:
                await self._session()
            except Exception as error:
                self._lose(error)
            # Reset the backoff only after a stream that lasted.
            if time.monotonic() - began > longest:
                pauses = backoff(first, longest)
            await asyncio.sleep(next(pauses))

    def _lose(self, error: Exception) -> None:
        """Records that the stream is lost, and why."""
        if isinstance(error, grpc.aio.AioRpcError):
            error = from_rpc_error(error)
        if not isinstance(error, (MentorgradError, _Lost)):
            self._log(logging.ERROR, "mentor_session_failed", target=self.target, exc_info=error)
        refusal = error if isinstance(error, _REFUSALS) else None
        why = f"it {SHUT}" if is_shut(str(error)) else str(error) or type(error).__name__
        if self.outbox.lose(why, refusal):
            self._log(logging.INFO, "mentor_lost", target=self.target, reason=why)
        if refusal is not None:
            self._settled.set()

    async def _session(self) -> None:
        """Runs one stream from open to loss; ends only by an exception."""
        connection = self._connect()
        try:
            call = connection.streams(MentorServiceStub).Advise()
            try:
                async with asyncio.timeout(self._patience.open):
                    accepted = await self._open(call)
            except TimeoutError:
                raise _Lost(
                    f"the mentor did not accept the session within {self._patience.open:g} s"
                ) from None
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
            await connection.close()

    async def _open(self, call: Any) -> Accepted:
        with contextlib.suppress(
            asyncio.InvalidStateError
        ):  # the call has ended; reading gives the error
            await call.write(pb.AdviseRequest(open=to_message(self._opened)))
        message = await call.read()
        if message is grpc.aio.EOF or message.WhichOneof("message") != "accepted":
            raise _Lost("the mentor did not accept the session")
        return from_message(Accepted, message.accepted)

    def _begin(self, accepted: Accepted) -> None:
        """Queues the replay buffer and the pending requests for the new stream."""
        self.accepted = accepted
        self._unacknowledged.clear()
        self.outbox.begin()
        self._opened_once.set()
        self._settled.set()
        self._log(logging.INFO, "mentor_session_open", target=self.target, model=accepted.model)

    async def _write(self, call: Any) -> None:
        seq = 0
        while True:
            self._wake.clear()
            if self.outbox.is_behind:
                raise _Lost("the mentor accepts batches too slowly")
            item = self.outbox.first()
            if item is None or (isinstance(item, Batch) and len(self._unacknowledged) >= _WINDOW):
                await self._pause()
                continue
            if not self.outbox.take(item):
                continue
            if isinstance(item, Batch):
                seq += 1
                self._unacknowledged.append((seq, time.monotonic()))
            message = _request(item, seq)
            if message is not None:
                await self._send(call, message)

    async def _pause(self) -> None:
        """Waits for new items; detects a mentor that acknowledges nothing."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TICK):
                await self._wake.wait()
        if self._unacknowledged and (
            time.monotonic() - self._unacknowledged[0][1] > self._patience.acknowledge
        ):
            raise _Lost(f"the mentor acknowledged nothing for {self._patience.acknowledge:g} s")

    async def _send(self, call: Any, message: Any) -> None:
        try:
            async with asyncio.timeout(self._patience.acknowledge):
                await call.write(message)
        except TimeoutError:
            raise _Lost(f"the mentor read nothing for {self._patience.acknowledge:g} s") from None
        except asyncio.InvalidStateError:
            # The call has ended; the reader gets the error.
            await asyncio.sleep(_TICK)
            raise _Lost("the stream was closed") from None

    async def _read(self, call: Any) -> None:
        closing = ""
        while True:
            if closing and not self.outbox.has_pending:
                raise _Lost(closing)
            message = await call.read()
            if message is grpc.aio.EOF:
                raise _Lost(closing or "the mentor ended the session")
            kind = message.WhichOneof("message")
            if kind == "batch_acknowledged":
                self._acknowledge(message.batch_acknowledged.seq)
            elif kind == "answer":
                self._deliver(message.answer)
            elif kind == "closing":
                closing = message.closing.reason or "the mentor is stopping"

    def _acknowledge(self, seq: int) -> None:
        while self._unacknowledged and self._unacknowledged[0][0] <= seq:
            self._unacknowledged.popleft()
        self._wake.set()

    def _deliver(self, message: Any) -> None:
        pending = self.outbox.waiting_for(message.request_id)
        if pending is None:
            return
        try:
            pending.give(from_message(Answer, message, checked=True))
        except InvalidInput as error:
            pending.settle(AnswerStatus.UNUSABLE, f"malformed answer: {error.message}")


def _request(item: Item, seq: int) -> Any:
    """The message for a queued item; None for a request that has timed out or is answered."""
    if isinstance(item, Batch):
        return pb.AdviseRequest(batch=to_message(replace(item, seq=seq)))
    if isinstance(item, Outcomes):
        return pb.AdviseRequest(outcomes=to_message(item))
    if item.left <= 0 or item.future.done():
        return None
    request = replace(item.request, timeout=timedelta(seconds=item.left))
    return pb.AdviseRequest(request=to_message(request))


def _log(level: int, event: str, exc_info: BaseException | None = None, **facts: Any) -> None:
    logging.getLogger("mentorgrad.session").log(level, "%s %s", event, facts, exc_info=exc_info)
