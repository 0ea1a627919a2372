"""Admission of calls: who calls, whether there is a place, and only then the request.

gRPC's Python server receives the request of a unary call before it runs the handler, so that
everybody can fill the memory. So unary methods are served as request streams, whose first message
is received here, once the metadata has decided.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType
from typing import Any

import grpc
import grpc.aio
from structlog.contextvars import bind_contextvars

from mentorgrad.errors import (
    Cancelled,
    DeadlineExceeded,
    MentorgradError,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
)
from mentorgrad.wire.error_mapping import to_status
from service_common.authorization import OPEN, Authenticator, Grant, GrantCheck, stranger
from service_common.call_log import Continuation, rewrap
from service_common.callers import current_caller
from service_common.decoding import LARGE
from service_common.paused_connections import PausedConnections
from service_common.places import (
    ARRIVING,
    LIMITS,
    STRANGERS,
    CallKind,
    Holder,
    Limit,
    Newest,
    Places,
    Rates,
    Turns,
)
from service_common.shares import Account, Charged, Shares
from service_common.shares import enter as enter_account

Context = Any
"""A `grpc.aio.ServicerContext`, of any messages."""

Serve = Callable[..., Any]
"""What serves a call: a coroutine function or an async generator function of a request, or of an
iterator of requests, and the context."""

_ARRIVAL_SECONDS = 30.0
"""Time limit for receiving a request, seconds; waiting for others to be received included."""

_STRANGERS_SECONDS = 1.0
"""Time limit for receiving a request of somebody who has shown no token, seconds."""

_STRANGERS_RATE = 20.0
"""Calls per second from one address, of callers who have shown no token."""

_STRANGERS_PAUSE = 2.0
"""For so long, seconds, the connection of a further one is not read."""

_CALL_SECONDS = 60.0
"""Time limit of a call with a single response, seconds; see `DEADLINES`."""

DEADLINES: Mapping[str, float] = MappingProxyType(
    {
        "/mentorgrad.v1.TrainerService/CreateRun": 600.0,  # reads the whole data
        "/mentorgrad.v1.ExperimentService/CreateExperiment": 600.0,
        "/mentorgrad.v1.ExperimentService/GetReport": 120.0,
        "/mentorgrad.v1.TrainerService/DeleteRun": 300.0,
        "/mentorgrad.v1.MentorService/Propose": 900.0,  # a model on a CPU answers, after others
        "/mentorgrad.v1.PredictService/Predict": 300.0,
    }
)
"""Method with a single request and response → its time limit, seconds, if not `_CALL_SECONDS`. The
client's own deadline applies as well."""


class CallAdmission(grpc.aio.ServerInterceptor):
    """Rejects a call without permission, or without a free place, before its request is received;
    ends a call whose token expires or is revoked meanwhile within seconds.

    Args:
        authenticator: Who calls, and whether they may.
        limits: Maximum number of calls of each kind.
        rate: Maximum calls per second of one owner; None: no limit.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        limits: Mapping[CallKind, Limit] = LIMITS,
        rate: float | None = None,
    ) -> None:
        self._authenticator = authenticator
        self._rates = Rates()
        self._rate = rate
        self.places = Places(limits)
        self.shares = Shares()
        self.paused = PausedConnections()
        self._arriving = Turns(ARRIVING)
        self._strangers = Newest(STRANGERS, _STRANGERS_SECONDS)

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Wraps the handler of one call."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        call = _Incoming(handler, handler_call_details)
        admitted = self._open if call.method.startswith(OPEN) else self._by_caller
        return rewrap(
            handler,
            lambda function: admitted(call, function),
            lambda function: self._stream(call, function),
            raw=True,
            takes_stream=True,
        )

    def _open(self, call: _Incoming, function: Serve) -> Serve:
        """Serves a method that needs no token: to any number of callers a request that arrives
        at once, to few of one address a response that goes on."""

        async def admitted(requests: Any, context: Context) -> Any:
            async with _refusing(context):
                peer = self.count_stranger(context)
                request = await self._of_stranger(context)
                if call.streams_responses:
                    context.add_done_callback(self.places.take(call.kind, peer))
                return await function(request, context)

        return admitted

    def _by_caller(self, call: _Incoming, function: Serve) -> Serve:
        async def admitted(requests: Any, context: Context) -> Any:
            async with _refusing(context):
                holder, check, account = self._admit(call, context)
                await account.turn(begins=True)
                if call.streams_requests:
                    with Grant(check) as grant:
                        async with grant.waiting():
                            return await Charged(account, function(requests, context))
                request = await self._arrived(holder, context)
                async with _within(DEADLINES.get(call.method, _CALL_SECONDS)):
                    return await Charged(account, function(request, context))

        return admitted

    def _stream(self, call: _Incoming, function: Serve) -> Serve:
        async def admitted(requests: Any, context: Context) -> AsyncIterator[Any]:
            async with _refusing(context):
                try:
                    holder, check, account = self._admit(call, context)
                    await account.turn(begins=True)
                except MentorgradError:
                    if call.streams_requests:
                        await self._written(context)
                    raise
                request = requests
                if not call.streams_requests:
                    request = await self._arrived(holder, context)
                with Grant(check) as grant:
                    async with contextlib.aclosing(function(request, context)) as responses:
                        while True:
                            async with grant.waiting():
                                await account.next_response()
                                response = await Charged(account, _next(responses))
                            if response is None:
                                return
                            yield response

        return admitted

    def _admit(
        self, call: _Incoming, context: Context
    ) -> tuple[Holder, GrantCheck | None, Account]:
        """Whose the place is that the call has until it ends, the check of the permission, and the
        account of what the call takes."""
        peer = context.peer()  # early: after a cancelled call, this would crash the process
        try:
            holder, check = self._authenticator.enter(call.method, call.metadata, context)
        except Unauthenticated:
            self.count_stranger(context)
            raise
        except PermissionDenied:
            self._account(peer).refused()
            raise
        account = self._account(peer)
        caller = current_caller()
        rate = caller.call_rate or (self._rate if caller.has_limits else None)
        try:
            if rate is not None:
                self._rates.count(caller.owner, rate)
            # Not with a block: a cancelled response stream's function may wait for the collector.
            context.add_done_callback(self.places.take(call.kind, holder))
        except ResourceExhausted:
            account.refused()
            raise
        context.add_done_callback(account.close)
        enter_account(account)
        return holder, check, account

    def _account(self, peer: str) -> Account:
        """The account of a call of the present caller."""
        caller = current_caller()
        self.paused.note(peer, caller.owner)
        return self.shares.account(
            caller.owner,
            is_limited=caller.has_limits,
            hold=None if caller.is_relayed else functools.partial(self.paused.pause, peer),
        )

    def count_stranger(self, context: Context) -> Holder:
        """Counts a call of somebody who has shown no token, by their address; beyond the rate its
        connection is paused. Returns whose the call is."""
        peer = context.peer()
        holder = stranger(peer)
        try:
            self._rates.count(holder.name, _STRANGERS_RATE)
        except ResourceExhausted:
            self.paused.pause(peer, _STRANGERS_PAUSE)
        return holder

    async def _arrived(self, holder: Holder, context: Context) -> bytes:
        """Receives a request."""
        within = _within(_ARRIVAL_SECONDS, "the request did not arrive")
        async with within, self._arriving.place(holder):
            return _present(await context.read())

    async def _of_stranger(self, context: Context) -> bytes:
        """Receives a request of somebody who has shown no token."""
        try:
            async with self._strangers.place():
                return _present(await context.read())
        except TimeoutError:
            raise ResourceExhausted(
                "the request did not arrive at once", reason="REQUEST_LATE"
            ) from None

    async def _written(self, context: Context) -> None:
        """Waits briefly for the first request of a stream that is refused. If the server rejects
        the call while an asyncio client is writing its request, the client gets an internal error
        instead."""
        with contextlib.suppress(TimeoutError):
            async with self._strangers.place():
                await context.read()


class _Incoming:
    """What is known of a call before it is served."""

    def __init__(self, handler: Any, details: grpc.HandlerCallDetails) -> None:
        self.method: str = details.method
        self.metadata = details.invocation_metadata
        self.streams_requests: bool = handler.request_streaming
        self.streams_responses: bool = handler.response_streaming

    @property
    def kind(self) -> CallKind:
        """Which places it takes."""
        if self.method.startswith(OPEN):
            return CallKind.HEALTH_WATCH
        if self.streams_requests:
            return CallKind.CLIENT_STREAM
        if self.method in LARGE:
            return CallKind.LARGE
        return CallKind.SERVER_STREAM if self.streams_responses else CallKind.UNARY


def _present(raw: Any) -> bytes:
    """A received request.

    Raises:
        Cancelled: The caller ended the call without one.
    """
    if raw is grpc.aio.EOF:
        raise Cancelled("the call ended without a request")
    return bytes(raw)


async def _next(responses: AsyncIterator[Any]) -> Any:
    """The next response; None: there is none."""
    return await anext(responses, None)


@contextlib.asynccontextmanager
async def _within(seconds: float, what: str = "the call did not end") -> AsyncIterator[None]:
    """Limits the time of the block.

    Raises:
        DeadlineExceeded: It took longer.
    """
    try:
        async with asyncio.timeout(seconds) as scope:
            yield
    except TimeoutError:
        if not scope.expired():
            raise
        raise DeadlineExceeded(f"{what} within {seconds:g} s, the limit of this server") from None


@contextlib.asynccontextmanager
async def _refusing(context: Context) -> AsyncIterator[None]:
    """Ends the call with the error of the block."""
    try:
        yield
    except MentorgradError as error:
        bind_contextvars(reason=error.reason, message=error.message)
        await context.abort_with_status(to_status(error))


class UnknownMethods(grpc.aio.ServerInterceptor):
    """Answers calls of methods that are not there, as gRPC does by itself, and counts them. The
    outermost interceptor: no log and no metric has names that a stranger has made up.

    Args:
        admission: Counts the calls.
    """

    def __init__(self, admission: CallAdmission) -> None:
        self._admission = admission
        self._handler: Any = grpc.stream_unary_rpc_method_handler(self._refuse)

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Returns the handler of one call."""
        return await continuation(handler_call_details) or self._handler

    async def _refuse(self, requests: Any, context: Context) -> None:
        self._admission.count_stranger(context)
        # By a status without details, a client knows that the service is another.
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
