"""Interceptors that count, trace and log every call."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import grpc
import grpc.aio
import structlog
from structlog.contextvars import bind_contextvars

from mentorgrad.wire import tracing
from service_common.authorization import address_of
from service_common.metrics import CallMetrics
from service_common.refusals import Strangers, TakeRefusal, refused_call

log = structlog.get_logger(__name__)

_CODES = {code.value[0]: code.name for code in grpc.StatusCode}
_QUIET = frozenset({"OK", "CANCELLED"})
_NAMES = ("run_id", "request_id")
"""Request fields that are added to every log line of the call."""

_LONGEST_NAME = 200
"""Maximum logged characters of such a field, since it is logged before it is validated."""

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]
Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


def rewrap(
    handler: Any, unary: Wrap, stream: Wrap, *, raw: bool = False, takes_stream: bool = False
) -> Any:
    """Wraps the function of a handler: with `stream` if it is an async generator, else `unary`.

    Args:
        handler: The handler.
        unary: Wraps a function that returns its response.
        stream: Wraps a function that yields its responses.
        raw: Whether the wrapped function is given its requests as bytes.
        takes_stream: Whether it is given an iterator of requests even if there is only one.
    """
    given = f"_{'stream' if handler.response_streaming else 'unary'}"
    takes = "stream" if handler.request_streaming or takes_stream else "unary"
    function = getattr(handler, ("stream" if handler.request_streaming else "unary") + given)
    wrapped = (stream if inspect.isasyncgenfunction(function) else unary)(function)
    make = getattr(grpc, f"{takes}{given}_rpc_method_handler")
    decode = None if raw else handler.request_deserializer
    return make(wrapped, decode, handler.response_serializer)


class CallLog(grpc.aio.ServerInterceptor):
    """Counts, traces and logs the calls of mentorgrad's services, refused ones included.

    A call with a single response always gets a span. A response stream, which may last as long as a
    run, gets one only if its caller is traced.

    Args:
        metrics: Metrics to update.
        refused: Called with each refused call of a known caller.
    """

    def __init__(self, metrics: CallMetrics, refused: TakeRefusal | None = None) -> None:
        self._metrics = metrics
        self._refused = refused
        self.strangers = Strangers()
        self._in_progress = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def idle(self) -> None:
        """Waits until no call is in progress."""
        await self._idle.wait()

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Wraps the handler of one call."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith("/mentorgrad."):
            return handler
        metadata = dict(handler_call_details.invocation_metadata or ())
        parent = metadata.get(tracing.TRACE_PARENT, "")
        parent = parent if isinstance(parent, str) else ""

        def unary(function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
            async def observed(request: Any, context: grpc.aio.ServicerContext) -> Any:
                with (
                    tracing.span(method[1:], "server", parent) as span,
                    self._observed(method, context, span),
                ):
                    return await function(request, context)

            return observed

        def stream(function: Callable[..., Any]) -> Callable[..., Any]:
            async def observed(
                request: Any, context: grpc.aio.ServicerContext
            ) -> AsyncIterator[Any]:
                # Not the current span of the context: a stream may be closed in another task.
                span = tracing.begin(method[1:], "server", parent) if parent else tracing.Span()
                try:
                    with self._observed(method, context, span):
                        async with contextlib.aclosing(function(request, context)) as responses:
                            async for response in responses:
                                yield response
                finally:
                    span.end()

            return observed

        return rewrap(handler, unary, stream)

    @contextlib.contextmanager
    def _observed(
        self, method: str, context: grpc.aio.ServicerContext, span: tracing.Span
    ) -> Iterator[None]:
        began = time.monotonic()
        peer = context.peer()  # early: after a cancelled call, this would crash the process
        # Each call has its own task, so the variables bound here end with it.
        bind_contextvars(call_id=secrets.token_hex(4))
        self._enter(1)
        code = "OK"
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            code = "CANCELLED"  # by the client, or its deadline
            raise
        except BaseException:
            given: Any = context.code()  # an enum after an abort, a number after set_code
            code = getattr(given, "name", "") or _CODES.get(given, "UNKNOWN")
            raise
        finally:
            self._enter(-1)
            self._note(method, code, time.monotonic() - began, peer, span)

    def _enter(self, change: int) -> None:
        self._in_progress += change
        self._metrics.in_progress.set(self._in_progress)
        if self._in_progress:
            self._idle.clear()
        else:
            self._idle.set()

    def _note(self, method: str, code: str, seconds: float, peer: str, span: tracing.Span) -> None:
        service, _, name = method[1:].partition("/")
        self._metrics.calls.labels(service, name, code).inc()
        self._metrics.seconds.labels(service, name).observe(seconds)
        span.note(code=code)
        if code not in _QUIET:
            span.fail(code)
        entry = refused_call(method, code)
        if entry is not None and self._refused is not None:
            self._refused(entry)
        is_quiet = code in _QUIET
        if code == "UNAUTHENTICATED" and entry is None:
            is_quiet = not self.strangers.count(address_of(peer))
        line = log.debug if is_quiet else log.info
        line("call", method=method, code=code, seconds=round(seconds, 4), peer=peer)


def bind_names(request: Any) -> None:
    """Adds the run_id and request_id of a message to all further log lines of this call."""
    found = {name: getattr(request, name, "")[:_LONGEST_NAME] for name in _NAMES}
    bind_contextvars(**{name: text for name, text in found.items() if text})
    if found["run_id"]:
        tracing.current().note(run_id=found["run_id"])
