"""Interceptor that makes floods of calls cheap: it holds calls that came to nothing.

A call that is cancelled as soon as it begins still takes Python some hundred microseconds, nearly
all of them in gRPC's own code. But a connection has a limited number of calls
(``grpc.max_concurrent_streams``), and a cancelled one counts until its handler has ended. So the
handlers of a flood end late: gRPC then refuses further calls of its connections natively.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from mentorgrad.errors import ResourceExhausted
from service_common.authorization import OPEN, address_of
from service_common.call_admission import Context
from service_common.call_log import Continuation, rewrap
from service_common.callers import current_caller
from service_common.places import Rates
from service_common.refusals import REFUSALS

VAIN_RATE = 20.0
"""Calls per second of one owner, or of one address, that may be in vain; further ones are held."""

HELD_SECONDS = 5.0
"""How long a call is held."""

MOST_HELD = 2048
"""Maximum number of held calls; further ones end at once."""

_REMEMBERED = 8192
"""Connections whose owners are remembered; for one more, the first is forgotten."""

_IN_VAIN = REFUSALS | {"UNIMPLEMENTED"}
"""Status codes that end a call in vain. Other errors come of calls that were let in."""

_SEVERAL = object()
"""Instead of an owner: several."""


class HeldCalls(grpc.aio.ServerInterceptor):
    """Holds calls of callers with too many calls in vain: those that were cancelled or refused, and
    all of methods for everybody. The caller has its answer before. The outermost interceptor: for
    all others, a held call is over.

    Whoever has some 200 held calls on one connection makes no more on it for a while. A connection
    that several owners have called on comes from a proxy or a service, and is not slowed for the
    fault of one of them. For one event loop.

    Args:
        rate: Calls per second of an owner, else of an address, that may be in vain.
        seconds: How long a call is held.
        most: Maximum number of held calls.
        clock: Returns a time, in seconds.
    """

    def __init__(
        self,
        rate: float = VAIN_RATE,
        seconds: float = HELD_SECONDS,
        most: int = MOST_HELD,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = rate
        self._seconds = seconds
        self._most = most
        self._rates = Rates(clock)
        self._owners: dict[str, object] = {}
        self._released = asyncio.Event()
        self.held = 0
        """Number of held calls."""

    def release(self) -> None:
        """Ends all held calls, and holds none from now on."""
        self._released.set()

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Wraps the handler of one call."""
        handler = await continuation(handler_call_details) or _UNKNOWN
        is_open = handler_call_details.method.startswith(OPEN)

        def unary(function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
            async def held(request: Any, context: Context) -> Any:
                async with self._holding(context, is_open):
                    return await function(request, context)

            return held

        def stream(function: Callable[..., Any]) -> Callable[..., Any]:
            async def held(request: Any, context: Context) -> AsyncIterator[Any]:
                async with (
                    self._holding(context, is_open),
                    contextlib.aclosing(function(request, context)) as responses,
                ):
                    async for response in responses:
                        yield response

            return held

        return rewrap(handler, unary, stream)

    @contextlib.asynccontextmanager
    async def _holding(self, context: Context, is_open: bool) -> AsyncIterator[None]:
        """Holds the call that the block serves, if it is in vain once too often."""
        peer = context.peer()  # early: after a cancelled call, this would crash the process
        is_vain = True  # so if the caller cancels it
        try:
            yield
            is_vain = is_open
        except GeneratorExit:  # gRPC has ended the call already, and waits for nothing
            is_vain = False
            raise
        except grpc.aio.AbortError:
            given: Any = context.code()
            is_vain = is_open or getattr(given, "name", "") in _IN_VAIN
            raise
        finally:
            owner = self._owner(peer)
            if is_vain:
                await self._hold(peer, owner or address_of(peer))

    def _owner(self, peer: str) -> str:
        """Who calls, which is remembered of the connection; empty: not known."""
        try:
            owner = current_caller().owner
        except LookupError:
            return ""
        if self._owners.setdefault(peer, owner) != owner:
            self._owners[peer] = _SEVERAL
        if len(self._owners) > _REMEMBERED:
            del self._owners[next(iter(self._owners))]
        return owner

    async def _hold(self, peer: str, caller: str) -> None:
        try:
            self._rates.count(caller, self._rate)
        except ResourceExhausted:
            if self.held >= self._most or self._owners.get(peer) is _SEVERAL:
                return
            self.held += 1
            try:
                async with asyncio.timeout(self._seconds):
                    await self._released.wait()
            except TimeoutError:
                pass
            finally:
                self.held -= 1


async def _refuse(requests: Any, context: Context) -> None:
    # As gRPC does: by a status without details, a client knows that the service is another.
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")


_UNKNOWN: Any = grpc.stream_unary_rpc_method_handler(_refuse)
"""Serves a method that is not there. gRPC would do it by itself, but hold none of these calls."""
