"""Building, running and stopping a gRPC server the way both services do it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from mentorgrad.errors import InternalError, InvalidInput, MentorgradError, Unavailable
from mentorgrad.wire.channels import SERVER_OPTIONS
from mentorgrad.wire.status import to_status

log = structlog.get_logger(__name__)

_MAX_CALLS = 512
"""Calls at once, of all callers; the next one is told RESOURCE_EXHAUSTED."""


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Turns every error of a handler into a status, so that nothing internal leaks.

    A streaming handler's body runs while its result is iterated, so the iteration is wrapped too.
    """

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wraps the handler of one call."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith("/mentorgrad."):
            return handler
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                _wrap_unary(handler.unary_unary, method),
                handler.request_deserializer,
                handler.response_serializer,
            )
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(
                _wrap_unary(handler.stream_unary, method),
                handler.request_deserializer,
                handler.response_serializer,
            )
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(
                _wrap_stream(handler.unary_stream, method),
                handler.request_deserializer,
                handler.response_serializer,
            )
        return grpc.stream_stream_rpc_method_handler(
            _wrap_stream(handler.stream_stream, method),
            handler.request_deserializer,
            handler.response_serializer,
        )


def _wrap_unary(handler: Callable[..., Awaitable[Any]], method: str) -> Callable[..., Any]:
    async def wrapped(request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            return await handler(request, context)
        except Exception as error:
            await _abort(context, error, method)

    return wrapped


def _wrap_stream(handler: Callable[..., AsyncGenerator[Any]], method: str) -> Callable[..., Any]:
    async def wrapped(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        try:
            # Closed here and now: a cancelled call's handler must not wait for the collector.
            async with contextlib.aclosing(handler(request, context)) as responses:
                async for response in responses:
                    yield response
        except Exception as error:
            await _abort(context, error, method)

    return wrapped


async def _abort(context: grpc.aio.ServicerContext, error: Exception, method: str) -> None:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if not isinstance(error, MentorgradError):
        log.error("handler_failed", method=method, exc_info=error)
        error = InternalError("internal error; the server's log says more")
    else:
        log.info("call_refused", method=method, reason=error.reason, message=error.message)
    await context.abort_with_status(to_status(error))


def check_listen(address: str, insecure: bool) -> None:
    """Refuses an address that others can reach, unless told otherwise.

    Raises:
        InvalidInput: The address is malformed, or not loopback and `insecure` is not set.
    """
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise InvalidInput.field("listen", f"must be HOST:PORT, not {address!r}")
    name = host.strip("[]")
    try:
        loopback = ipaddress.ip_address(name).is_loopback
    except ValueError:
        loopback = name == "localhost"
    if not loopback and not insecure:
        raise InvalidInput.field(
            "listen",
            f"{host} can be reached by others and this connection is neither encrypted nor "
            "authenticated; listen on 127.0.0.1, or pass --insecure if the network is trusted",
        )
    if not loopback:
        log.warning("listening_insecurely", address=address)


class Server:
    """A gRPC server with health, reflection and the error interceptor.

    Args:
        listen: ``HOST:PORT``; port 0 takes a free one.
        services: Full names of the mounted services, for health and reflection.
    """

    def __init__(self, listen: str, services: Sequence[str]) -> None:
        self.grpc = grpc.aio.server(
            interceptors=[ErrorInterceptor()],
            options=SERVER_OPTIONS,
            maximum_concurrent_rpcs=_MAX_CALLS,
        )
        self._listen = listen
        self._services = tuple(services)
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.grpc)
        names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self.grpc)
        self.address = ""

    async def start(self) -> str:
        """Binds and serves; returns the address with its real port.

        Raises:
            Unavailable: The address cannot be bound.
        """
        try:
            port = self.grpc.add_insecure_port(self._listen)
        except RuntimeError:
            port = 0
        if port == 0:
            raise Unavailable(f"cannot listen on {self._listen}; is the port in use?")
        host = self._listen.rpartition(":")[0]
        self.address = f"{host}:{port}"
        await self.grpc.start()
        await self.set_serving(True)
        return self.address

    async def set_serving(self, serving: bool) -> None:
        """Sets the health of every service."""
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if serving
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for name in ("", *self._services):
            await self._health.set(name, status)

    async def stop(self, grace: float = 2.0) -> None:
        """Says NOT_SERVING, lets calls end within the grace, then cuts them."""
        await self._health.enter_graceful_shutdown()
        await self.grpc.stop(grace)


async def wait_for_signal() -> None:
    """Returns at the first SIGINT or SIGTERM."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stopped.set)
    await stopped.wait()
