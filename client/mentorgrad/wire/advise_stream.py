"""Keeping up an Advise session with a mentor: the caller's side, for whoever asks it.

What is told and asked may come from any thread; a task on an event loop keeps the session up:

    tell ───▶ memory (bounded) ──▶ line ──▶ stream ──▶ mentor
    asking ─▶ pending ───────────▶ line ──▶ stream ──▶ mentor ──▶ answer ──▶ pending

While there is no session, nothing is lined up: what was told is remembered, best candidates and
latest snapshots first, and told again when a session opens. A line that grows too long has the
same end: it is dropped, and the session is opened again and told what is remembered. So nobody
waits for a mentor but whoever asks it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
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
from mentorgrad.wire.connection import Connection
from mentorgrad.wire.error_mapping import from_rpc_error
from mentorgrad.wire.outbox import Item, Outbox

_WINDOW = 32
"""Batches that may be under way without an acknowledgement."""
_REFUSALS = (InvalidInput, Unauthenticated, PermissionDenied, Untrusted)
"""What waiting alone does not change."""
_TICK = 0.1
"""Seconds between two looks at what time alone changes."""

Log = Callable[..., None]
"""``log(level, event, **facts)``: takes the few words that a link says of itself."""


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
    """For a session to end; it is left behind after that."""


class _Lost(Exception):
    """The session is over; says why."""


class AdviseStream:
    """See the module. What is told and asked goes through `outbox`, from any thread.

    Args:
        connect: Makes a connection to the mentor; each session has one of its own.
        opened: What every session is opened with.
        patience: How long the parts of a session may take.
        log: By default the logger ``mentorgrad.session``.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        opened: AdviseOpen,
        patience: Patience | None = None,
        log: Log | None = None,
    ) -> None:
        self.accepted: Accepted | None = None
        """What the mentor said when a session was last opened."""
        self.target = connect().target
        """``HOST:PORT`` of the mentor."""
        self.outbox = Outbox(self.target, self._nudge)
        """Takes what is told and asked."""
        self._connect = connect
        self._opened = opened
        self._patience = patience or Patience()
        self._log = log or _log
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._under_way: deque[tuple[int, float]] = deque()
        """Number and time of the batches that are not acknowledged yet."""
        self._opened_once = threading.Event()
        self._settled = asyncio.Event()
        """Set once it is known whether the mentor opens a session or refuses to."""

    def wait_open(self, timeout: float) -> bool:
        """Waits for the first session, and not on its event loop; whether there was one."""
        return self._opened_once.wait(timeout)

    def _nudge(self) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._wake.set)

    # -- on the event loop ---------------------------------------------------------------------

    async def start(self) -> None:
        """Begins to keep the session up, on this event loop."""
        self._loop = asyncio.get_running_loop()
        self._tasks = [asyncio.create_task(self._keep_open()), asyncio.create_task(self._watch())]

    async def settled(self) -> None:
        """Waits until there is a first session, for as long as one may take to open.

        Raises:
            InvalidInput: The mentor refuses what the session would be opened with.
            Unauthenticated, PermissionDenied, Untrusted: It refuses us, or we do not trust it.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience.open):
                await self._settled.wait()
        refusal = self.outbox.refusal
        if refusal is not None:
            raise refusal

    async def close(self) -> bool:
        """Ends the session, whatever the mentor does; whether it ended in time."""
        self.outbox.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._patience.close)
        return not self.is_kept

    @property
    def is_kept(self) -> bool:
        """Whether the session is still kept up."""
        return any(not task.done() for task in self._tasks)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            self.outbox.settle_absent(self._patience.absent)

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
            self._log(logging.ERROR, "mentor_session_failed", target=self.target, exc_info=error)
        refusal = error if isinstance(error, _REFUSALS) else None
        if self.outbox.lose(str(error) or type(error).__name__, refusal):
            self._log(logging.INFO, "mentor_lost", target=self.target, reason=str(error))
        if refusal is not None:
            self._settled.set()

    async def _session(self) -> None:
        """One session from open to loss; returns by an exception only."""
        connection = self._connect()
        try:
            call = connection.streams(MentorServiceStub).Advise()
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
            await connection.close()

    async def _open(self, call: Any) -> Accepted:
        with contextlib.suppress(asyncio.InvalidStateError):  # over already; reading says why
            await call.write(pb.AdviseRequest(open=to_message(self._opened)))
        message = await call.read()
        if message is grpc.aio.EOF or message.WhichOneof("message") != "accepted":
            raise _Lost("it did not accept the session")
        return from_message(Accepted, message.accepted)

    def _begin(self, accepted: Accepted) -> None:
        """Tells the new session everything, then what is asked."""
        self.accepted = accepted
        self._under_way.clear()
        self.outbox.begin()
        self._opened_once.set()
        self._settled.set()
        self._log(logging.INFO, "mentor_session_open", target=self.target, model=accepted.model)

    async def _write(self, call: Any) -> None:
        seq = 0
        while True:
            self._wake.clear()
            if self.outbox.is_behind:
                raise _Lost("it takes batches in too slowly")
            item = self.outbox.first()
            if item is None or (isinstance(item, Batch) and len(self._under_way) >= _WINDOW):
                await self._pause()
                continue
            if not self.outbox.take(item):
                continue
            if isinstance(item, Batch):
                seq += 1
                self._under_way.append((seq, time.monotonic()))
            message = _request(item, seq)
            if message is not None:
                await self._send(call, message)

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
            if closing and not self.outbox.has_pending:
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
        pending = self.outbox.waiting_for(message.request_id)
        if pending is None:
            return
        try:
            pending.give(from_message(Answer, message, checked=True))
        except InvalidInput as error:
            pending.settle(AnswerStatus.UNUSABLE, f"malformed answer: {error.message}")


def _request(item: Item, seq: int) -> Any:
    """The message for an item of the line; None if nobody waits for it any more."""
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
