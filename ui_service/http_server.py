"""The page's HTTP server: uvicorn, with limits for connections that ask for nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from mentorgrad.errors import InvalidInput
from mentorgrad.wire.channels import max_connections

CONNECTIONS = 1_024
"""Maximum number of connections; requests on further ones are answered by 503."""

SILENT_SECONDS = 10.0
"""A connection without a whole request for this long, or up to twice as long, is closed."""

_HEADER_BYTES = 16 * 1024


class _HttpProtocol(H11Protocol):
    """Closes connections that send no request, or no more than a part of one.

    uvicorn's own limit applies only between a response and the first byte of the next request.
    """

    _watching: asyncio.TimerHandle | None = None
    _was_silent = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watching is not None:
            self._watching.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        self._watching = self.loop.call_later(SILENT_SECONDS, self._look)

    def _look(self) -> None:
        is_silent = self.cycle is None or self.cycle.response_complete
        if is_silent and self._was_silent:
            self.transport.abort()
        else:
            self._was_silent = is_silent
            self._watch()

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._was_silent = False


class HttpServer(uvicorn.Server):
    """Serves an application; leaves signals to the service.

    Args:
        app: The application.
        listen: ``HOST:PORT``; port 0: any free port.
        tls: TLS context; None: plain HTTP.
    """

    def __init__(self, app: ASGIApp, listen: str, tls: ssl.SSLContext | None = None) -> None:
        config = uvicorn.Config(
            app,
            http=_HttpProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=min(CONNECTIONS, max_connections()),
            h11_max_incomplete_event_size=_HEADER_BYTES,
        )
        config.load()
        config.ssl = tls
        super().__init__(config)
        self._listen = listen
        self._has_started = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Starts to serve; returns the address with the actual port.

        Raises:
            InvalidInput: The address cannot be bound.
        """
        bound = _bind(self._listen)
        self._serving = asyncio.create_task(self.serve([bound]))
        started = asyncio.create_task(self._has_started.wait())
        await asyncio.wait((started, self._serving), return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            started.cancel()
            await self._serving
        return f"{self._listen.rpartition(':')[0]}:{bound.getsockname()[1]}"

    async def stop(self, grace: float) -> None:
        """Gives open requests `grace` seconds, and stops."""
        self.config.timeout_graceful_shutdown = max(1, round(grace))
        self.should_exit = True
        if self._serving is not None:
            await self._serving

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none: uvicorn's way of stopping would end the process by the signal."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to listen."""
        await super().startup(sockets)
        self._has_started.set()


def _bind(listen: str) -> socket.socket:
    """A socket that listens.

    Raises:
        InvalidInput: The address is in use, or not of this machine.
    """
    host, _, port = listen.rpartition(":")
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host.strip("[]") or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except OSError as error:
        # The library's own text repeats the address.
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        said = f"cannot listen on {listen}: {why}"
        raise InvalidInput.field("listen", said) from None
