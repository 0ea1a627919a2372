"""gRPC servicer of MentorService: converts messages to and from the domain's dataclasses.

In an Advise call, one task reads the requests, and the call's own coroutine writes the responses
from a queue. Each answer is computed in its own task, so that batches are accepted meanwhile. The
queue is bounded: if a client does not read responses, its requests are not read either.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
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
from mentorgrad.wire.codec import from_message, to_message

log = structlog.get_logger(__name__)

SERVICE = "mentorgrad.v1.MentorService"
"""Full name of the service, for health checks and reflection."""

_QUEUE = 64
"""Maximum queued responses, and maximum answers in progress, per call."""

_OPEN_SECONDS = 10.0
"""Timeout of a call's first message, `open`."""


class _Call:
    """One Advise call: its session, its queue of responses and its tasks."""

    def __init__(self, session: AdviseSession) -> None:
        self.session = session
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
        kind = message.WhichOneof("message")
        if kind == "batch":
            seq = self.session.take(from_message(Batch, message.batch, "batch", checked=True))
            done = pb.BatchAcknowledged(seq=seq)
            await self.responses.put(pb.AdviseResponse(batch_acknowledged=done))
        elif kind == "outcomes":
            self.session.note(from_message(Outcomes, message.outcomes, "outcomes", checked=True))
        elif kind == "request":
            request = from_message(ProposalRequest, message.request, "request", checked=True)
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

    async def end(self, reader: asyncio.Task[None]) -> None:
        """Cancels the tasks of the call and closes its session."""
        tasks = [reader, *self.answers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.session.close()


class MentorServicer(MentorServiceServicer):
    """gRPC servicer of MentorService. Keeps no state between sessions.

    Args:
        backend: LLM backend.
        profile: Model profile, which determines the form of the questions.
        max_sessions: Maximum open sessions.
        open_seconds: Timeout of a call's first message, `open`.
        registry: Registry of the Prometheus metrics.
    """

    def __init__(
        self,
        backend: Backend,
        profile: Profile,
        max_sessions: int = 64,
        open_seconds: float = _OPEN_SECONDS,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._backend = backend
        self._profile = profile
        self._max_sessions = max_sessions
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
        if len(self._calls) >= self._max_sessions:
            raise ResourceExhausted(
                f"{len(self._calls)} sessions are already open", reason="MENTOR_BUSY"
            )
        opened = from_message(AdviseOpen, first.open, "open", checked=True)
        session = self._session(opened)
        call = _Call(session)
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
            await call.end(reader)
            log.info("session_closed", session_id=opened.session_id)

    async def Propose(self, request: Any, context: Any) -> Any:  # noqa: N802
        """A single request without a session."""
        asked = from_message(ProposeInput, request, checked=True)
        session = self._session(asked.open)
        for number, batch in enumerate(asked.batches, start=1):
            # The message gives the order; sequence numbers matter in sessions only.
            session.take(dataclasses.replace(batch, seq=number))
        try:
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
