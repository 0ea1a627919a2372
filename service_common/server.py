"""gRPC server of both services: interceptors, health, reflection, TLS, start and graceful stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

from mentorgrad import parent_process
from mentorgrad.errors import InternalError, MentorgradError, Unavailable, Unsupported
from mentorgrad.wire.channels import SERVER_OPTIONS, max_connections
from mentorgrad.wire.error_mapping import to_status
from service_common.authorization import Authenticator
from service_common.call_admission import CallAdmission, UnknownMethods
from service_common.call_log import CallLog, Continuation, bind_names, rewrap
from service_common.decoding import Decode, decoder
from service_common.health import TIMEOUT, HealthCheck, HealthReporter, always
from service_common.metrics import CallMetrics
from service_common.places import LIMITS, CallKind, Limit
from service_common.refusals import TakeRefusal
from service_common.security import Security
from service_common.shares import charge_threads

log = structlog.get_logger(__name__)

_LOGGED_CHARACTERS = 1_000
"""Maximum logged characters of an error message, since a request can make it long."""

_LAST_SECONDS = 0.25
"""Seconds between the end of the last call and the closing of its connection."""


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Decodes requests, and converts every exception of a handler to a gRPC status, without leaking
    internals. A single request's run_id and request_id are added to the log lines of its call.

    The body of a streaming handler runs while its result is iterated, so this wraps the iteration.
    """

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Wraps the handler of one call."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        decode = decoder(handler, method)

        async def named(raw: bytes) -> Any:
            request = await decode(raw)
            bind_names(request)
            return request

        is_ours = method.startswith("/mentorgrad.")
        read = named if is_ours and not handler.request_streaming else decode
        return rewrap(
            handler,
            lambda function: _wrap_unary(function, method, read),
            lambda function: _wrap_stream(function, method, read),
            raw=True,
        )


def _wrap_unary(
    handler: Callable[..., Awaitable[Any]], method: str, read: Decode
) -> Callable[..., Any]:
    async def wrapped(request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            return await handler(await read(request), context)
        except Exception as error:
            await _abort(context, error, method)

    return wrapped


def _wrap_stream(
    handler: Callable[..., AsyncGenerator[Any]], method: str, read: Decode
) -> Callable[..., Any]:
    async def wrapped(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        try:
            # Closed at once: a cancelled call's handler must not wait for the garbage collector.
            responses = handler(await read(request), context)
            async with contextlib.aclosing(responses):
                async for response in responses:
                    yield response
        except Exception as error:
            await _abort(context, error, method)

    return wrapped


async def _abort(context: grpc.aio.ServicerContext, error: Exception, method: str) -> None:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    given = error
    if isinstance(error, NotImplementedError):  # raised by the generated base class
        error = Unsupported(f"{method} is not implemented by this server")
    if not isinstance(error, MentorgradError):
        log.error("handler_failed", method=method, exc_info=error)
        error = InternalError("internal error; see the server's log")
    else:
        # Adds the error to the log line of the call.
        message = error.message[:_LOGGED_CHARACTERS]
        structlog.contextvars.bind_contextvars(reason=error.reason, message=message)
    # The tracebacks of the error and its causes reference the request, and grpc keeps the error
    # beyond the end of the call, as the context of the abort's exception.
    given.__traceback__ = given.__context__ = given.__cause__ = None
    await context.abort_with_status(to_status(error.told or error))


class Server:
    """A gRPC server with health, reflection, metrics, authorization and error handling.

    Args:
        listen: ``HOST:PORT``; port 0: any free port.
        services: Full names of the services, for health and reflection.
        check: Health check of the services; see `service_common.health`.
        patience: Timeout of a health check, seconds.
        registry: Registry of the call metrics.
        security: TLS and tokens.
        limits: Maximum calls in progress of each kind.
        refused: Called with each refused call of a known caller, for the audit.
    """

    def __init__(
        self,
        listen: str,
        services: Sequence[str],
        *,
        check: HealthCheck = always,
        patience: float = TIMEOUT,
        registry: CollectorRegistry | None = None,
        security: Security | None = None,
        limits: Mapping[CallKind, Limit] = LIMITS,
        refused: TakeRefusal | None = None,
    ) -> None:
        metrics = CallMetrics(registry or CollectorRegistry())
        self._observer = CallLog(metrics, refused)
        self._security = security or Security()
        self.admission = CallAdmission(
            Authenticator(self._security.tokens), limits, self._security.owner_call_rate
        )
        self.grpc = grpc.aio.server(
            interceptors=[
                UnknownMethods(self.admission),
                self._observer,
                self.admission,
                ErrorInterceptor(),
            ],
            options=[
                *SERVER_OPTIONS,
                ("grpc.max_allowed_incoming_connections", max_connections()),
            ],
        )
        self._listen = listen
        self._health = HealthReporter(services, check, metrics.serving.set, timeout=patience)
        health_pb2_grpc.add_HealthServicer_to_server(self._health.servicer, self.grpc)
        names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self.grpc)
        self._drained: list[Callable[[], None]] = []
        self.address = ""

    async def start(self) -> str:
        """Binds the address and starts serving; returns the address with the actual port.

        Raises:
            Unavailable: The address cannot be bound.
        """
        try:
            port = self._bind()
        except RuntimeError:
            port = 0
        if port == 0:
            raise Unavailable(f"cannot listen on {self._listen}; is the port in use?")
        charge_threads()
        host = self._listen.rpartition(":")[0]
        self.address = f"{host}:{port}"
        await self._health.start()
        await self.grpc.start()
        return self.address

    def _bind(self) -> int:
        """Binds the address; returns the port, or 0 if it cannot be bound."""
        certificates = self._security.certificates
        if certificates is None:
            return self.grpc.add_insecure_port(self._listen)
        return self.grpc.add_secure_port(self._listen, certificates.credentials())

    def on_drain(self, callback: Callable[[], None]) -> None:
        """Registers a callback for the start of draining."""
        self._drained.append(callback)

    async def drain(self) -> None:
        """Reports NOT_SERVING from now on and runs the `on_drain` callbacks; calls are still
        served."""
        await self._health.drain()
        for callback in self._drained:
            callback()

    async def stop(self, grace: float = 2.0) -> None:
        """Reports NOT_SERVING, waits at most `grace` seconds until no call to mentorgrad's services
        is in progress, then cancels the remaining calls, such as endless health watches."""
        await self._health.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._observer.idle()
        self._observer.strangers.tell()
        self.admission.paused.release()
        # A short grace for the last responses. Called only once: a second stop crashes the process.
        await self.grpc.stop(min(grace, _LAST_SECONDS))


def announce(service: str, address: str, metrics: str) -> None:
    """Prints one JSON line to standard output: the service is ready, and its addresses.

    Args:
        service: ``trainer`` or ``mentor``.
        address: ``HOST:PORT``.
        metrics: ``HOST:PORT`` of the metrics; empty: no metrics.
    """
    shown = {"metrics": metrics} if metrics else {}
    print(json.dumps({"service": service, "address": address, **shown}), flush=True)


class Stoppable(Protocol):
    """A started service."""

    async def stop(self, grace: float) -> None:
        """Gives open calls `grace` seconds to end, and stops."""


async def serve_until_told(
    server: Stoppable, drain_seconds: float, ready: Callable[[], None]
) -> None:
    """Waits for SIGINT or SIGTERM, then stops a service.

    Args:
        server: The service, started.
        drain_seconds: Shutdown grace period, seconds.
        ready: Called once the signal handlers are installed.
    """
    await wait_for_signal(ready)
    log.info("stopping", within_seconds=drain_seconds)
    await server.stop(drain_seconds)


async def wait_for_signal(ready: Callable[[], None] = lambda: None) -> None:
    """Waits for the first SIGINT or SIGTERM, or for the end of the process that started this one as
    a part of itself (`parent_process`); a second signal ends the process at once.

    Args:
        ready: Called once a signal would be handled.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stopped.set)
    ready()
    pause = parent_process.SECONDS if parent_process.is_watched() else None
    while not stopped.is_set() and not parent_process.has_ended():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), pause)
    for number in numbers:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
