"""Composition root of the page: the only module that chooses concrete classes."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.resources.abc import Traversable

import structlog
from prometheus_client import CollectorRegistry

from mentorgrad.async_client import AsyncClient
from mentorgrad.errors import InvalidInput
from mentorgrad.predict_client import AsyncPredictClient
from mentorgrad.wire import tracing
from mentorgrad.wire.addresses import is_loopback
from mentorgrad.wire.credentials import Credentials
from service_common import logs
from service_common.metrics import exposed
from service_common.security import Security, protect
from service_common.server import announce, serve_until_told
from ui_service.actions import Acting, Actions, RunControl
from ui_service.api import Api
from ui_service.app import application, built_page
from ui_service.classifier import Predicting
from ui_service.event_stream import EventStreams
from ui_service.http_server import HttpServer
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
_PORTION_SECONDS = 60.0
"""Deadline of a portion of a log, and of a trajectory; a run is followed without one."""
_RESUME_SECONDS = 1.0
"""A lost watch is told to the tabs after this time; the page goes on trying by itself."""


class UiServer:
    """A running page.

    Args:
        trainer: Where the runs are recorded.
        settings: Settings of the page.
        security: TLS and tokens of the page.
        registry: Registry of the metrics.
        folder: The built page.
        acting: Opens the control of runs; None: the page is read-only.
        predicting: A classifier to try; None: there is none.
    """

    def __init__(
        self,
        trainer: Trainer,
        settings: UiSettings,
        security: Security,
        registry: CollectorRegistry | None = None,
        folder: Traversable | None = None,
        acting: Acting | None = None,
        predicting: Predicting | None = None,
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
        actions = Actions(acting) if acting is not None else None
        reads = Reads(trainer, settings.server, recorded)
        api = Api(reads, self._streams, logins, actions, predicting)
        self._pages = PageFiles(built_page() if folder is None else folder)
        app = application(api, self._pages, settings.listen, settings.host)
        self._http = HttpServer(app, settings.listen, _tls(settings))

    async def start(self) -> str:
        """Starts to serve; returns the address with the actual port.

        Raises:
            InvalidInput: The address cannot be bound.
        """
        address = await self._http.start()
        if not self._pages.is_built:
            log.warning("page_not_built", remedy="make ui")
        return address

    async def stop(self, grace: float = 1.0) -> None:
        """Ends all streams, gives other requests `grace` seconds, and stops."""
        self._streams.ended.set()
        await self._http.stop(grace)


def _tls(settings: UiSettings) -> ssl.SSLContext | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    files = (settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    return HttpsCertificates(*files).context


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


def acting_by(
    client: AsyncClient, settings: UiSettings, security: Security, credentials: Credentials
) -> Acting | None:
    """Opens the control of runs; None: the page is read-only.

    Who has logged in acts with the rights of their own token, and is named by it in the audit.

    Args:
        client: The page's own.
        settings: Settings of the page.
        security: TLS and tokens of the page.
        credentials: What the page presents to the trainer.

    Raises:
        InvalidInput: Tokens of visitors would be sent unencrypted.
    """
    if not settings.allow_actions:
        return None

    def of_visitor(token: str) -> Credentials:
        return replace(credentials, token=token, token_file=None)

    if security.tokens is not None:
        of_visitor("any").check_target(settings.server)

    @asynccontextmanager
    async def acting(token: str) -> AsyncIterator[RunControl]:
        if not token:
            yield client
            return
        visitor = of_visitor(token)
        async with AsyncClient(settings.server, timeout=_CALL_SECONDS, credentials=visitor) as own:
            yield own

    return acting


@asynccontextmanager
async def predicting_by(
    settings: UiSettings, credentials: Credentials
) -> AsyncIterator[Predicting | None]:
    """The classifier that visitors may try; None: there is none.

    Raises:
        InvalidInput: The page's token would be sent unencrypted.
    """
    if not settings.predictor:
        yield None
        return
    credentials.check_target(settings.predictor)
    async with AsyncPredictClient(
        settings.predictor, timeout=_CALL_SECONDS, credentials=credentials
    ) as client:
        yield client


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
        stream_timeout=_PORTION_SECONDS,
        resume_for=_RESUME_SECONDS,
        credentials=credentials,
    )
    async with client, predicting_by(settings, credentials) as predicting:
        acting = acting_by(client, settings, security, credentials)
        server = UiServer(client, settings, security, registry, None, acting, predicting)
        with exposed(settings.metrics, registry) as shown:
            address = await server.start()
            scheme = "http" if settings.tls_certificate is None else "https"
            url = f"{scheme}://{address}"
            log.info("serving", url=url, address=address, metrics=shown, trainer=settings.server)
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
