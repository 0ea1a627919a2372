"""Composition root of the mentor service: the only module that chooses concrete classes."""

from __future__ import annotations

import asyncio
import sys

import structlog
from prometheus_client import CollectorRegistry

from mentor_service.profiles import Profile, choose
from mentor_service.protocols import Backend
from mentor_service.servicer import SERVICE, MentorServicer
from mentor_service.settings import MentorSettings, Secrets
from mentorgrad import model_refs
from mentorgrad.errors import InvalidInput, NotFound, Unsupported
from mentorgrad.installed import pip_line
from mentorgrad.v1.mentor_service_pb2_grpc import add_MentorServiceServicer_to_server
from mentorgrad.wire import tracing
from service_common import logs
from service_common.metrics import exposed
from service_common.security import Security, protect
from service_common.server import Server, announce, serve_until_told

log = structlog.get_logger(__name__)

_CHECK_SECONDS = 6.0
"""Timeout of the backend health check; a remote LLM server may be slow to respond."""


class MentorServer:
    """A running mentor service.

    Args:
        backend: LLM backend; closed together with the server.
        profile: Model profile, which determines the form of the questions.
        listen: ``HOST:PORT``; port 0: any free port.
        registry: Registry of the Prometheus metrics.
        security: TLS and authentication settings.
    """

    def __init__(
        self,
        backend: Backend,
        profile: Profile,
        listen: str = "127.0.0.1:0",
        registry: CollectorRegistry | None = None,
        security: Security | None = None,
    ) -> None:
        registry = registry or CollectorRegistry()
        self._backend = backend
        self._servicer = MentorServicer(backend, profile, registry=registry)
        self._server = Server(
            listen,
            [SERVICE],
            check=backend.check,
            patience=_CHECK_SECONDS,
            registry=registry,
            security=security,
        )
        self._server.on_drain(lambda: self._servicer.drain("the mentor is stopping"))
        add_MentorServiceServicer_to_server(self._servicer, self._server.grpc)  # type: ignore[no-untyped-call]

    async def start(self) -> str:
        """Starts to serve; returns the address with the actual port.

        Raises:
            Unavailable: The address cannot be bound.
        """
        return await self._server.start()

    async def stop(self, grace: float = 3.0) -> None:
        """Reports NOT_SERVING, notifies open sessions, gives them `grace` seconds to end, and
        unloads the model."""
        await self._server.drain()
        await self._server.stop(grace)
        await self._backend.close()


def build_backend(settings: MentorSettings) -> tuple[Backend, int | None]:
    """Builds the backend that the settings name.

    Returns:
        The backend, and the number of the model's weights (None if unknown).

    Raises:
        InvalidInput: The model reference is malformed or cannot be resolved, or the URL of the
            OpenAI-compatible server is missing.
        Unavailable: The model cannot be loaded.
        Unsupported: llama-cpp-python is not installed.
    """
    if settings.backend == "openai":
        from mentor_service.backends.openai import OpenAIBackend

        key = Secrets().openai_api_key.get_secret_value()
        model = "" if settings.model == model_refs.DEFAULT_MENTOR_MODEL else settings.model
        return OpenAIBackend(
            settings.base_url,
            model,
            api_key=key,
            context_tokens=settings.context,
            queue_limit=settings.queue_limit,
        ), None
    try:
        from mentor_service.backends.llama_cpp import LlamaCppBackend
    except ImportError:
        raise Unsupported(
            f"the llama_cpp backend needs llama-cpp-python: {pip_line('mentor')}"
        ) from None
    try:
        path = model_refs.resolve(settings.model)
    except NotFound as error:
        raise InvalidInput.field("model", error.message, reason=error.reason) from None
    local = LlamaCppBackend(
        path,
        model=settings.model,
        threads=settings.threads,
        gpu_layers=settings.gpu_layers,
        context=settings.context,
        queue_limit=settings.queue_limit,
    )
    return local, local.parameters


async def serve(settings: MentorSettings) -> None:
    """Serves until SIGINT or SIGTERM. When ready, prints one JSON line with the addresses to
    standard output.

    Args:
        settings: Settings of the service.

    Raises:
        MentorgradError: A setting is wrong, the model cannot be loaded, or the address is in use.
    """
    security = protect(settings)
    backend, parameters = build_backend(settings)
    profile = choose(settings.profile, parameters, backend.context_tokens)
    registry = CollectorRegistry()
    server = MentorServer(backend, profile, settings.listen, registry, security)
    with exposed(settings.metrics, registry) as shown:
        try:
            address = await server.start()
        except BaseException:
            await backend.close()
            raise
        log.info(
            "serving", address=address, metrics=shown, model=backend.model, profile=profile.name
        )
        await serve_until_told(
            server, settings.drain_seconds, lambda: announce("mentor", address, shown)
        )


def run(settings: MentorSettings) -> None:
    """Configures logging and tracing, and serves in this process; see `serve`."""
    logs.configure(settings.log_level, settings.log_format)
    if missing := tracing.configure("mentorgrad-mentor"):
        log.warning("no_traces", reason=missing)
    asyncio.run(serve(settings))
    tracing.flush()
    sys.stdout.flush()
