"""Where the mentor service is put together: the one place that names concrete classes."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable

import structlog

from mentor_service.profiles import Profile, choose
from mentor_service.protocols import Backend
from mentor_service.servicer import SERVICE, MentorServicer
from mentor_service.settings import MentorSettings, Secrets
from mentorgrad import models
from mentorgrad.errors import InvalidInput, NotFound, Unsupported
from mentorgrad.serving.server import Server, check_listen, wait_for_signal
from mentorgrad.v1.mentor_service_pb2_grpc import add_MentorServiceServicer_to_server

log = structlog.get_logger(__name__)

_GRACE = 3.0
"""Seconds that open sessions have to end at a stop."""


class MentorServer:
    """A running mentor service.

    Args:
        backend: Answers the questions; closed with the server.
        profile: What form of question the model can follow.
        listen: ``HOST:PORT``; port 0 takes a free one.
    """

    def __init__(self, backend: Backend, profile: Profile, listen: str = "127.0.0.1:0") -> None:
        self._backend = backend
        self._servicer = MentorServicer(backend, profile)
        self._server = Server(listen, [SERVICE])
        add_MentorServiceServicer_to_server(self._servicer, self._server.grpc)  # type: ignore[no-untyped-call]

    async def start(self) -> str:
        """Serves; returns the address with its real port.

        Raises:
            Unavailable: The address cannot be bound.
        """
        return await self._server.start()

    async def stop(self, grace: float = _GRACE) -> None:
        """Tells open sessions, lets them end within the grace, and unloads the model."""
        self._servicer.drain("the mentor is stopping")
        await self._server.stop(grace)
        await self._backend.close()


def build_backend(settings: MentorSettings) -> tuple[Backend, int | None]:
    """The backend that the settings name, and the number of its model's weights if known.

    Raises:
        InvalidInput: The reference is malformed or names nothing, or no server was given.
        Unavailable: The model cannot be loaded.
        Unsupported: llama-cpp-python is not installed.
    """
    if settings.backend == "openai":
        from mentor_service.backends.openai import OpenAIBackend

        key = Secrets().openai_api_key.get_secret_value()
        model = "" if settings.model == models.DEFAULT_MENTOR_MODEL else settings.model
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
            "the llama_cpp backend needs llama-cpp-python: pip install 'mentorgrad[mentor]'"
        ) from None
    try:
        path = models.resolve(settings.model)
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


async def serve(settings: MentorSettings, ready: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM.

    Args:
        settings: As read.
        ready: Called with the address once requests are taken.

    Raises:
        MentorgradError: A setting is wrong, the model cannot be loaded, or the address is in use.
    """
    check_listen(settings.listen, settings.insecure)
    backend, parameters = build_backend(settings)
    profile = choose(settings.profile, parameters, backend.context_tokens)
    server = MentorServer(backend, profile, settings.listen)
    try:
        address = await server.start()
    except BaseException:
        await backend.close()
        raise
    log.info("serving", address=address, model=backend.model, profile=profile.name)
    # Listens for signals before it says that it is there: one may come at once.
    signalled = asyncio.create_task(wait_for_signal())
    await asyncio.sleep(0)
    ready(address)
    await signalled
    log.info("stopping")
    await server.stop()


def announce(address: str) -> None:
    """Says on standard output, in one JSON line, that requests are taken."""
    print(json.dumps({"service": "mentor", "address": address}), flush=True)


def run(settings: MentorSettings) -> None:
    """Serves in this process until it is told to stop; see `serve`."""
    asyncio.run(serve(settings, announce))
    sys.stdout.flush()
