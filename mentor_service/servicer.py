"""gRPC servicer of MentorService: converts messages to and from the domain's dataclasses.

In an Advise call, one task reads the requests, and the call's own coroutine writes the responses
from a queue. Each answer is computed in its own task, so that batches are accepted meanwhile. The
queue is bounded: if a client does not read responses, its requests are not read either.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import structlog
from prometheus_client import CollectorRegistry
from structlog.contextvars import bind_contextvars

from mentor_service.metrics import MentorMetrics
from mentor_service.profiles import Profile
from mentor_service.protocols import Backend
from mentor_service.session import MAX_PROPOSALS, AdviseSession
from mentor_service.strategies import registry
from mentorgrad import __version__
from mentorgrad.domain.advice import (
    AdviseOpen,
    Batch,
    MentorInfo,
    Outcomes,
    ProposalRequest,
    ProposeInput,
)
from mentorgrad.errors import DeadlineExceeded, InvalidInput, ResourceExhausted, Unavailable
from mentorgrad.v1 import mentor_service_pb2 as pb
from mentorgrad.v1.mentor_service_pb2_grpc import MentorServiceServicer
from mentorgrad.wire.codec import to_message
from service_common.callers import Caller, current_caller
from service_common.decoding import validated

log = structlog.get_logger(__name__)

SERVICE = "mentorgrad.v1.MentorService"
"""Full name of the service, for health checks and reflection."""

_QUEUE = 64
"""Maximum queued responses, and maximum answers in progress, per call."""

_OPEN_SECONDS = 10.0
"""Timeout of a call's first message, `open`."""


_IDLE_SECONDS = 600.0
"""How long a session without a message is kept when others need its place."""

_FREE_SECONDS = 1.0
"""How long a new session waits until the one whose place it takes has ended."""


class _Call:
    """One Advise call: its session, its queue of responses and its tasks.

    Args:
        session: The session.
        caller: Who it comes from.
        weighed: Called with each batch taken; raises if the session may not keep so much.
    """

    def __init__(
        self, session: AdviseSession, caller: Caller, weighed: Callable[[_Call], None]
    ) -> None:
        self.session = session
        self.caller = caller
        self.size = 0
        """Bytes that the session keeps in memory."""
        self.last = time.monotonic()
        """When the last message came."""
        self.over = asyncio.Event()
        """Set when the call has ended."""
        self._weighed = weighed
        self.responses: asyncio.Queue[Any] = asyncio.Queue(_QUEUE)
        """Responses; an exception fails the call, None completes it."""
        self.answers: set[asyncio.Task[None]] = set()

    async def read(self, requests: AsyncIterator[Any]) -> None:
        """Handles the client's messages until it closes the stream."""
        try:
            async for message in requests:
                await self._take(message)
            if self.answers:
                await asyncio.wait(self.answers)
            await self.responses.put(None)
        except Exception as error:
            await self.responses.put(error)

    async def _take(self, message: Any) -> None:
        self.last = time.monotonic()
        kind = message.WhichOneof("message")
        if kind == "batch":
            seq = self.session.take(await validated(Batch, message.batch, "batch"))
            self.size = self.session.size
            self._weighed(self)
            done = pb.BatchAcknowledged(seq=seq)
            await self.responses.put(pb.AdviseResponse(batch_acknowledged=done))
        elif kind == "outcomes":
            self.session.note(await validated(Outcomes, message.outcomes, "outcomes"))
        elif kind == "request":
            request = await validated(ProposalRequest, message.request, "request")
            while len(self.answers) >= _QUEUE:  # back-pressure: the client does not read
                await asyncio.wait(self.answers, return_when=asyncio.FIRST_COMPLETED)
            task = asyncio.create_task(self._answer(request))
            self.answers.add(task)
            task.add_done_callback(self.answers.discard)
        elif kind == "open":
            raise InvalidInput.field("open", "must be sent exactly once, as the first message")
        else:
            raise InvalidInput.field("message", "must set one of: batch, request, outcomes")

    async def _answer(self, request: ProposalRequest) -> None:
        try:
            answer = await self.session.answer(request)
            await self.responses.put(pb.AdviseResponse(answer=to_message(answer)))
        except Exception as error:
            await self.responses.put(error)

    def expire(self) -> None:
        """Ends the call, if its client reads: another session needs the place."""
        idle = Unavailable("the session was idle while others waited", reason="SESSION_IDLE")
        with contextlib.suppress(asyncio.QueueFull):
            self.responses.put_nowait(idle)

    async def end(self, reader: asyncio.Task[None]) -> None:
        """Cancels the tasks of the call and closes its session."""
        tasks = [reader, *self.answers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.session.close()


def _take_all(session: AdviseSession, batches: Sequence[Batch]) -> None:
    """Adds batches in the order of the message; sequence numbers matter in streams only."""
    for number, batch in enumerate(batches, start=1):
        session.take(dataclasses.replace(batch, seq=number))


class MentorServicer(MentorServiceServicer):
    """gRPC servicer of MentorService. Keeps no state between sessions.

    Args:
        backend: LLM backend.
        profile: Model profile, which determines the form of the questions.
        max_sessions: Maximum open sessions.
        owner_sessions: Maximum open sessions of one owner; a token may have its own, and
            administrators have none. None: half of `max_sessions`.
        max_bytes: Maximum memory of all sessions; those of one owner may take half of it.
        idle_seconds: How long a session without a message is kept when others need its place.
        caller: Returns who the present call comes from.
        open_seconds: Timeout of a call's first message, `open`.
        registry: Registry of the Prometheus metrics.
    """

    def __init__(
        self,
        backend: Backend,
        profile: Profile,
        max_sessions: int = 64,
        owner_sessions: int | None = None,
        max_bytes: int = 1 << 30,
        idle_seconds: float = _IDLE_SECONDS,
        caller: Callable[[], Caller] = current_caller,
        open_seconds: float = _OPEN_SECONDS,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._backend = backend
        self._profile = profile
        self._max_sessions = max_sessions
        self._owner_sessions = owner_sessions or max(max_sessions // 2, 1)
        self._max_bytes = max_bytes
        self._idle_seconds = idle_seconds
        self._caller = caller
        self._open_seconds = open_seconds
        self._calls: set[_Call] = set()
        self._closing = ""
        self._metrics = MentorMetrics(
            registry or CollectorRegistry(), lambda: backend.waiting, lambda: len(self._calls)
        )

    def _session(self, opened: AdviseOpen) -> AdviseSession:
        if self._closing:
            raise Unavailable(self._closing, reason="MENTOR_CLOSING")
        strategy = registry.create(
            opened.strategy, opened.options, self._profile, self._backend.model
        )
        return AdviseSession(
            opened,
            strategy,
            self._backend,
            self._profile.name,
            answered=self._metrics.answered,
        )

    async def _first(self, requests: AsyncIterator[Any]) -> Any:
        try:
            async with asyncio.timeout(self._open_seconds):
                return await anext(requests, None)
        except TimeoutError:
            raise DeadlineExceeded(
                f"the open message did not arrive within {self._open_seconds:g} s"
            ) from None

    async def Advise(  # noqa: N802 - the name on the wire
        self, request_iterator: AsyncIterator[Any], context: Any
    ) -> AsyncIterator[Any]:
        """A bidirectional advice session; see `mentor_service.session`."""
        requests = aiter(request_iterator)
        first = await self._first(requests)
        if first is None or first.WhichOneof("message") != "open":
            raise InvalidInput.field("open", "must be sent exactly once, as the first message")
        opened = await validated(AdviseOpen, first.open, "open")
        caller = self._caller()
        await self._make_room(caller)  # nothing is awaited from here until the call is counted
        session = self._session(opened)
        call = _Call(session, caller, self._weigh)
        # Queued and counted before anything is written: a write may block on a client that does
        # not read, and such clients count too.
        call.responses.put_nowait(pb.AdviseResponse(accepted=to_message(session.accepted)))
        self._calls.add(call)
        bind_contextvars(session_id=opened.session_id)  # before there are tasks, which inherit it
        reader = asyncio.create_task(call.read(requests))
        log.info("session_opened", strategy=opened.strategy)
        try:
            while (response := await call.responses.get()) is not None:
                if isinstance(response, Exception):
                    raise response
                yield response
        finally:
            self._calls.discard(call)
            call.over.set()
            await call.end(reader)
            log.info("session_closed", session_id=opened.session_id)

    async def _make_room(self, caller: Caller) -> None:
        """Ends the session that has been idle for longest, if its place is needed.

        Raises:
            ResourceExhausted: There is no place for another session of this caller.
        """
        most = caller.session_limit
        if most is None:
            most = self._owner_sessions if caller.has_limits else self._max_sessions
        for whose, limit in (("", self._max_sessions), (caller.owner, most)):
            open_calls = self._of(whose)
            if len(open_calls) < limit:
                continue
            idlest = min(open_calls, key=lambda call: call.last)
            if time.monotonic() - idlest.last >= self._idle_seconds:
                idlest.expire()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_FREE_SECONDS):
                        await idlest.over.wait()
            if len(self._of(whose)) >= limit:
                raise ResourceExhausted(
                    f"{len(open_calls)} sessions{f' of {whose}' if whose else ''} are already open",
                    retry_after=_FREE_SECONDS,
                    reason="MENTOR_BUSY",
                )

    def _weigh(self, call: _Call) -> None:
        """Checks that a session may keep what it was sent.

        Raises:
            ResourceExhausted: The sessions of its owner, or all together, keep too much.
        """
        limits = [("", self._max_bytes)]
        if not call.caller.is_service:
            limits.append((call.caller.owner, self._max_bytes // 2))
        for whose, limit in limits:
            kept = sum(other.size for other in self._of(whose))
            if kept > limit:
                raise ResourceExhausted(
                    f"the open sessions{f' of {whose}' if whose else ''} keep {kept >> 20} MiB, "
                    f"more than {limit >> 20}",
                    retry_after=_IDLE_SECONDS,
                    reason="MENTOR_MEMORY",
                )

    def _of(self, owner: str) -> list[_Call]:
        """The open calls of an owner; of all if it is empty."""
        return [call for call in self._calls if owner in ("", call.caller.owner)]

    async def Propose(self, request: Any, context: Any) -> Any:  # noqa: N802
        """A single request without a session."""
        asked = await validated(ProposeInput, request)
        session = self._session(asked.open)
        try:
            # In a thread: nobody else has this session, and it may be given 100,000 snapshots.
            await asyncio.to_thread(_take_all, session, asked.batches)
            answer = await session.answer(asked.request)
        finally:
            await session.close()
        return pb.ProposeResponse(answer=to_message(answer))

    async def GetMentorInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Describes this mentor: model, backend, strategies and limits."""
        info = MentorInfo(
            model=self._backend.model,
            backend=self._backend.name,
            profile=self._profile.name,
            strategies=registry.infos(),
            max_proposals=MAX_PROPOSALS,
            context_tokens=self._backend.context_tokens,
            version=__version__,
        )
        return pb.GetMentorInfoResponse(info=to_message(info))

    def drain(self, reason: str) -> None:
        """Notifies every open session that the mentor is stopping, and refuses new sessions."""
        self._closing = reason
        response = pb.AdviseResponse(closing=pb.Closing(reason=reason))
        for call in self._calls:
            try:
                call.responses.put_nowait(response)
            except asyncio.QueueFull:  # the client does not read, so it cannot be notified
                log.info("session_not_told", reason=reason)
