"""Client connection to a service: deadlines, error mapping, and detection of lost streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterable, Iterator
from contextlib import aclosing
from typing import Any, Self, cast

import grpc
import grpc.aio

from mentorgrad.domain.pages import MAX_PAGE
from mentorgrad.errors import (
    InternalError,
    InvalidInput,
    MentorgradError,
    Unavailable,
    Unsupported,
    Untrusted,
)
from mentorgrad.numbers import integer_of, seconds_of
from mentorgrad.wire import tracing
from mentorgrad.wire.addresses import check_target
from mentorgrad.wire.channels import stream_channel, unary_channel, upload_channel
from mentorgrad.wire.credentials import Credentials
from mentorgrad.wire.error_mapping import OTHER_SERVICE, from_rpc_error

_Opener = Callable[[str, Credentials | None], grpc.aio.Channel]

_LOST = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)


class Connection:
    """The channels to one service, opened at the first call, on its event loop.

    Args:
        target: ``HOST:PORT``.
        credentials: TLS certificates and token; None: plaintext without a token.

    Raises:
        InvalidInput: The target is no address. Every call raises it if the credentials are
            unusable.
    """

    def __init__(self, target: str, credentials: Credentials | None = None) -> None:
        self.target = check_target(target)
        self._credentials = credentials
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._closed = False

    def unary(self, stub: Callable[[Any], Any]) -> Any:
        """A stub for unary calls."""
        return stub(self._channel("unary", unary_channel))

    def streams(self, stub: Callable[[Any], Any]) -> Any:
        """A stub for streams."""
        return stub(self._channel("streams", stream_channel))

    def _channel(self, kind: str, opener: _Opener) -> grpc.aio.Channel:
        if self._closed:
            raise Closed(self.target)
        if kind not in self._channels:
            self._channels[kind] = opener(self.target, self._credentials)
        return self._channels[kind]

    async def close(self) -> None:
        """Cancels calls in progress and closes the channels; idempotent."""
        self._closed = True
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()

    def translate(self, error: grpc.RpcError) -> MentorgradError:
        """Converts a failed call to the domain's error; names an unreachable or wrong service."""
        found = from_rpc_error(error)
        if found.reason == OTHER_SERVICE:
            return Unsupported(f"{self.target}: {found.message}", reason=OTHER_SERVICE)
        if not isinstance(found, Unavailable) or _is_ours(error):
            return found
        if isinstance(found, Untrusted):
            return Untrusted(f"{self.target}: {found.message}")
        if is_shut(found.message):
            return Unavailable(f"{self.target} {SHUT}")
        return Unavailable(f"no answer from {self.target}")

    async def call(self, method: Any, request: Any, timeout: float) -> Any:
        """One unary call with a timeout in seconds.

        Raises:
            MentorgradError: The call failed.
        """
        with tracing.span(_name(request), "client", facts={"target": self.target}) as span:
            try:
                return await method(request, timeout=timeout, metadata=span.metadata())
            except grpc.aio.AioRpcError as error:
                raise self.translate(error) from None

    async def upload(
        self,
        stub: Callable[[Any], Any],
        method: str,
        requests: Iterable[Any] | AsyncIterable[Any],
        timeout: float,
    ) -> Any:
        """One client stream; `requests` is consumed lazily, in a thread if it is synchronous.

        Raises:
            MentorgradError: The call failed.
            Exception: Any exception from `requests`.
        """
        if self._closed:
            raise Closed(self.target)
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        outgoing = _Outgoing(requests)
        channel = upload_channel(self.target, self._credentials)
        span = tracing.begin(method, "client", facts={"target": self.target})
        call = getattr(stub(channel), method).future(
            outgoing, timeout=timeout, metadata=span.metadata()
        )
        call.add_done_callback(lambda _: loop.call_soon_threadsafe(done.set))
        try:
            await done.wait()
            return call.result()
        except grpc.RpcError as error:
            if outgoing.error is not None:
                raise outgoing.error from None
            span.fail(str(error.code()))
            raise self.translate(error) from None
        finally:
            span.end()
            call.cancel()
            await asyncio.to_thread(channel.close)

    async def stream(self, method: Any, request: Any, timeout: float) -> AsyncGenerator[Any, None]:
        """One server stream; closing the generator early cancels it.

        Raises:
            StreamLost: The connection or the service was lost.
            MentorgradError: The service answered with an error.
        """
        # Not made the current span: code between two responses belongs to the caller.
        span = tracing.begin(_name(request), "client", facts={"target": self.target})
        call = method(request, timeout=timeout, metadata=span.metadata())
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            span.fail(error.code().name)
            if error.code() in _LOST and not _is_verdict(error):
                raise StreamLost(self.translate(error)) from None
            raise self.translate(error) from None
        except asyncio.CancelledError:
            # Distinguish a closed channel from a cancelled task, which must stay cancelled.
            task = asyncio.current_task()
            if self._closed and not (task is not None and task.cancelling()):
                raise Closed(self.target) from None
            raise
        finally:
            span.end()
            call.cancel()


class ServiceClient:
    """Base of the asyncio clients: an async context manager that owns a connection.

    Args:
        connection: Connection to the service.
        timeout: Timeout of a unary call, seconds.
        stream_timeout: Timeout of a stream that is not resumed, seconds.

    Raises:
        InvalidInput: A timeout is no finite number above 0.
    """

    def __init__(
        self, connection: Connection, timeout: float, stream_timeout: float = 600.0
    ) -> None:
        self._connection = connection
        self._timeout = seconds_of("timeout", timeout)
        self._stream_timeout = seconds_of("stream_timeout", stream_timeout)

    async def _call(
        self, stub: Callable[[Any], Any], method: str, request: Any, timeout: float = 0.0
    ) -> Any:
        """One unary call, with the client's timeout, or with `timeout` seconds if given."""
        call = getattr(self._connection.unary(stub), method)
        return await self._connection.call(call, request, timeout or self._timeout)

    async def _transfer(
        self, stub: Callable[[Any], Any], method: str, request: Any
    ) -> AsyncGenerator[Any, None]:
        """A server stream that is not resumed."""
        call = getattr(self._connection.streams(stub), method)
        stream = self._connection.stream(call, request, self._stream_timeout)
        async with aclosing(stream):
            try:
                async for response in stream:
                    yield response
            except StreamLost as lost:
                raise lost.cause from None

    @property
    def target(self) -> str:
        """``HOST:PORT`` of the service."""
        return self._connection.target

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Cancels calls in progress and closes the connection."""
        await self._connection.close()


class StreamLost(Exception):
    """A stream was lost without an error from the service; it can be resumed."""

    def __init__(self, cause: MentorgradError) -> None:
        super().__init__(cause.message)
        self.cause = cause


class Closed(Unavailable):
    """The client was closed; not retryable."""

    reason = "CLIENT_CLOSED"
    retryable = False

    def __init__(self, target: str) -> None:
        super().__init__(f"the client of {target} is closed")


class _Outgoing(Iterator[Any]):
    """Iterator over requests for a gRPC thread, from a sync or async source.

    An exception of the source ends the stream and is kept for the caller.
    """

    def __init__(self, source: Iterable[Any] | AsyncIterable[Any]) -> None:
        self._source = source if isinstance(source, AsyncIterable) else iter(source)
        self._items = aiter(source) if isinstance(source, AsyncIterable) else None
        self._loop = asyncio.get_running_loop()
        self.error: BaseException | None = None

    def __next__(self) -> Any:
        try:
            if self._items is None:
                return next(cast(Iterator[Any], self._source))
            following = cast(Coroutine[Any, Any, Any], anext(self._items))
            return asyncio.run_coroutine_threadsafe(following, self._loop).result()
        except (StopIteration, StopAsyncIteration):
            raise StopIteration from None
        except BaseException as error:
            self.error = error
            raise


def _name(request: Any) -> str:
    """``package.Service/Method`` of a request message; each method has its own request type."""
    descriptor = request.DESCRIPTOR
    for service in descriptor.file.services_by_name.values():
        for method in service.methods:
            if method.input_type is descriptor:
                return f"{service.full_name}/{method.name}"
    return str(descriptor.full_name)


def _is_ours(error: grpc.RpcError) -> bool:
    """Whether the error is from the service, not from the transport."""
    call: Any = error
    return any(key == "grpc-status-details-bin" for key, _ in call.trailing_metadata() or ())


def _is_verdict(error: grpc.RpcError) -> bool:
    """Whether a retry is pointless: the error is final."""
    found = from_rpc_error(error)
    return not found.retryable and (_is_ours(error) or isinstance(found, Untrusted))


SHUT = (
    "closes every connection immediately; it may require TLS or a client certificate from a CA "
    "that it trusts"
)
"""What a service does for which `is_shut` holds."""


def is_shut(details: str) -> bool:
    """Whether connections are accepted and closed at once, the only sign of a service that rejects
    the client's TLS handshake or expects one."""
    return "failed to connect" in details and "Socket closed" in details


def check_page_size(number: int) -> int:
    """Returns a valid page size; for a service, 0 would mean its default.

    Raises:
        InvalidInput: It is not within 1..1000.
    """
    number = integer_of("page_size", number)
    if not 1 <= number <= MAX_PAGE:
        raise InvalidInput.field("page_size", f"must be within 1..{MAX_PAGE}, not {number}")
    return number


def to_internal(message: str) -> InternalError:
    """The error for a response that violates the API contract."""
    return InternalError(f"the service's response violates the API contract: {message}")
