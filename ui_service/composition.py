"""Composition root of the page: the only module that chooses concrete classes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from importlib.resources.abc import Traversable

import structlog
import uvicorn
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from mentorgrad.async_client import AsyncClient
from mentorgrad.errors import InvalidInput
from mentorgrad.wire import tracing
from mentorgrad.wire.credentials import is_loopback
from service_common import logs
from service_common.metrics import exposed
from service_common.security import Security, protect
from service_common.server import announce, serve_until_told
from ui_service.api import Api
from ui_service.app import application, built_page
from ui_service.event_stream import EventStreams
from ui_service.https import HttpsCertificates
from ui_service.logins import Logins
from ui_service.metrics import UiMetrics
from ui_service.page_files import PageFiles
from ui_service.reads import Reads
from ui_service.recorded_events import RecordedEvents
from ui_service.run_feeds import RunFeeds
from ui_service.settings import UiSecrets, UiSettings, trainer_credentials
from ui_service.trainer import Trainer

log = structlog.get_logger(__name__)

_CALL_SECONDS = 15.0
_RESUME_SECONDS = 1.0
"""A lost watch is told to the tabs after this time; the page goes on trying by itself."""

_CONNECTIONS = 1_024
_HEADER_BYTES = 16 * 1024


class _HttpServer(uvicorn.Server):
    """Leaves signals to the service, and says when it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serving.set()


class UiServer:
    """A running page.

    Args:
        trainer: Where the runs are recorded.
        settings: Settings of the page.
        security: TLS and tokens of the page.
        registry: Registry of the metrics.
        folder: The built page.
    """

    def __init__(
        self,
        trainer: Trainer,
        settings: UiSettings,
        security: Security,
        registry: CollectorRegistry | None = None,
        folder: Traversable | None = None,
    ) -> None:
        recorded = RecordedEvents(trainer)
        feeds = RunFeeds(trainer, recorded)
        self._streams = EventStreams(feeds)
        UiMetrics(registry or CollectorRegistry(), self._streams.__len__, feeds.__len__)
        logins = (
            Logins(security.tokens, settings.owner_call_rate)
            if security.tokens is not None
            else None
        )
        api = Api(Reads(trainer, settings.server, recorded), self._streams, logins)
        self._pages = PageFiles(built_page() if folder is None else folder)
        self._listen = settings.listen
        app = application(api, self._pages, settings.listen, settings.host)
        self._http = _HttpServer(_config(app, settings))
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Starts to serve; returns the address with the actual port.

        Raises:
            InvalidInput: The address cannot be bound.
        """
        bound = _bind(self._listen)
        if not self._pages.is_built:
            log.warning("page_not_built", remedy="make ui")
        self._serving = asyncio.create_task(self._http.serve([bound]))
        serving = asyncio.create_task(self._http.serving.wait())
        await asyncio.wait((serving, self._serving), return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            serving.cancel()
            await self._serving
        return f"{self._listen.rpartition(':')[0]}:{bound.getsockname()[1]}"

    async def stop(self, grace: float = 1.0) -> None:
        """Ends all streams, gives other requests `grace` seconds, and stops."""
        self._streams.ended.set()
        self._http.config.timeout_graceful_shutdown = max(1, round(grace))
        self._http.should_exit = True
        if self._serving is not None:
            await self._serving


def _config(app: ASGIApp, settings: UiSettings) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        h11_max_incomplete_event_size=_HEADER_BYTES,
    )
    config.load()
    if settings.tls_certificate is not None and settings.tls_key is not None:
        files = (settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
        config.ssl = HttpsCertificates(*files).context
    return config


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


def protect_page(settings: UiSettings) -> Security:
    """TLS and tokens of the page.

    Raises:
        InvalidInput: A setting or a file is invalid, the address requires TLS or a login, or a
            login is required and there are no tokens.
    """
    security = protect(settings)
    if security.tokens is not None:
        return security
    if settings.login:
        raise InvalidInput.field(
            "login", "needs tokens: give their file (tokens) or an identity provider (oidc_issuer)"
        )
    if not settings.insecure and not is_loopback(settings.listen):
        raise InvalidInput.field(
            "tokens", f"are needed for a login: {settings.listen} is not a loopback address"
        )
    return security


async def serve(settings: UiSettings) -> None:
    """Serves until SIGINT or SIGTERM. When ready, prints one JSON line with the addresses to
    standard output.

    Args:
        settings: Settings of the page.

    Raises:
        MentorgradError: A setting is wrong, or the address is in use.
    """
    security = protect_page(settings)
    credentials = trainer_credentials(settings, UiSecrets())
    registry = CollectorRegistry()
    client = AsyncClient(
        settings.server,
        timeout=_CALL_SECONDS,
        resume_for=_RESUME_SECONDS,
        credentials=credentials,
    )
    async with client:
        server = UiServer(client, settings, security, registry)
        with exposed(settings.metrics, registry) as shown:
            address = await server.start()
            log.info("serving", address=address, metrics=shown, trainer=settings.server)
            await serve_until_told(
                server, settings.drain_seconds, lambda: announce("ui", address, shown)
            )


def run(settings: UiSettings) -> None:
    """Configures logging and tracing, and serves in this process; see `serve`."""
    logs.configure(settings.log_level, settings.log_format)
    if missing := tracing.configure("mentorgrad-ui"):
        log.warning("no_traces", reason=missing)
    asyncio.run(serve(settings))
    tracing.flush()
    sys.stdout.flush()
