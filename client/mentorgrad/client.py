"""Blocking clients: facades over the asyncio clients, which run on one background event loop."""

from __future__ import annotations

from typing import Generic, Self, TypeVar

from mentorgrad.async_client import DEFAULT_TARGET, AsyncClient
from mentorgrad.errors import Unavailable
from mentorgrad.event_loop import BackgroundLoop, blocking, iterating
from mentorgrad.mentor_client import DEFAULT_MENTOR, AsyncMentorClient, Sessions
from mentorgrad.predict_client import DEFAULT_PREDICTOR, AsyncPredictClient
from mentorgrad.session import MentorSession
from mentorgrad.wire.connection import ServiceClient
from mentorgrad.wire.credentials import Credentials

C = TypeVar("C", bound=ServiceClient, covariant=True)

__all__ = [
    "DEFAULT_MENTOR",
    "DEFAULT_PREDICTOR",
    "DEFAULT_TARGET",
    "AsyncClient",
    "AsyncMentorClient",
    "AsyncPredictClient",
    "BackgroundLoop",
    "Client",
    "MentorClient",
    "PredictClient",
]


class _Facade(Generic[C]):
    """Base of the clients: holds the background loop, and closes."""

    def __init__(self, inner: C) -> None:
        self._inner = inner
        self._held: BackgroundLoop | None = BackgroundLoop.acquire()

    @property
    def target(self) -> str:
        """``HOST:PORT`` of the service."""
        return self._inner.target

    def _on_loop(self) -> tuple[BackgroundLoop, C]:
        if self._held is None:
            raise Unavailable(f"the client of {self.target} is closed")
        return self._held, self._inner

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancels calls in progress and closes the connection; idempotent."""
        held, self._held = self._held, None
        if held is not None:
            try:
                held.run(self._inner.close())
            finally:
                held.release()


class Client(_Facade[AsyncClient]):
    """Blocking client of one trainer service. Methods, values and errors: `AsyncClient`.

    Thread-safe. Must not be used from a coroutine: it blocks.

    Args:
        target: ``HOST:PORT`` of the trainer service.
        timeout: Timeout of a unary call, seconds.
        stream_timeout: Timeout of one transfer, seconds; does not limit `watch`.
        resume_for: How long `watch` tries to reconnect after a lost connection, seconds; an idle
            connection does not count as lost.
        credentials: TLS certificates and token; None: plaintext without a token.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout: float = 30.0,
        stream_timeout: float = 600.0,
        resume_for: float = 60.0,
        credentials: Credentials | None = None,
    ) -> None:
        super().__init__(
            AsyncClient(
                target,
                timeout=timeout,
                stream_timeout=stream_timeout,
                resume_for=resume_for,
                credentials=credentials,
            )
        )

    create_run = blocking(AsyncClient.create_run)
    cancel_run = blocking(AsyncClient.cancel_run)
    finish_run = blocking(AsyncClient.finish_run)
    pause_run = blocking(AsyncClient.pause_run)
    resume_run = blocking(AsyncClient.resume_run)
    update_run = blocking(AsyncClient.update_run)
    delete_run = blocking(AsyncClient.delete_run)
    import_run = blocking(AsyncClient.import_run)
    upload_data = blocking(AsyncClient.upload_data)
    trainer_info = blocking(AsyncClient.trainer_info)
    watch = iterating(AsyncClient.watch)
    get_run = blocking(AsyncClient.get_run)
    list_runs = blocking(AsyncClient.list_runs)
    iter_runs = iterating(AsyncClient.iter_runs)
    list_audit = blocking(AsyncClient.list_audit)
    list_workers = blocking(AsyncClient.list_workers)
    events = iterating(AsyncClient.events)
    export_run = iterating(AsyncClient.export_run)
    trajectory = blocking(AsyncClient.trajectory)
    list_candidates = blocking(AsyncClient.list_candidates)
    iter_candidates = iterating(AsyncClient.iter_candidates)
    compare_runs = blocking(AsyncClient.compare_runs)
    artifacts = blocking(AsyncClient.artifacts)
    read_artifact = blocking(AsyncClient.read_artifact)
    download = blocking(AsyncClient.download)
    create_experiment = blocking(AsyncClient.create_experiment)
    get_experiment = blocking(AsyncClient.get_experiment)
    list_experiments = blocking(AsyncClient.list_experiments)
    iter_experiments = iterating(AsyncClient.iter_experiments)
    cancel_experiment = blocking(AsyncClient.cancel_experiment)
    get_report = blocking(AsyncClient.get_report)


class MentorClient(_Facade[AsyncMentorClient], Sessions[MentorSession]):
    """Blocking client of one mentor service. Methods, values and errors: `AsyncMentorClient`.

    Args:
        target: ``HOST:PORT`` of the mentor service.
        timeout: Timeout of a call, seconds; a request for proposals has its own.
        credentials: TLS certificates and token; None: plaintext without a token.
    """

    _session_class = MentorSession

    def __init__(
        self,
        target: str = DEFAULT_MENTOR,
        *,
        timeout: float = 30.0,
        credentials: Credentials | None = None,
    ) -> None:
        super().__init__(AsyncMentorClient(target, timeout=timeout, credentials=credentials))
        self._connect = self._inner.connect

    propose = blocking(AsyncMentorClient.propose)
    info = blocking(AsyncMentorClient.info)


class PredictClient(_Facade[AsyncPredictClient]):
    """Blocking client of one predict service. Methods, values and errors: `AsyncPredictClient`.

    Thread-safe. Must not be used from a coroutine: it blocks.

    Args:
        target: ``HOST:PORT`` of the predict service.
        timeout: Timeout of a call, seconds.
        stream_timeout: Timeout of one stream, seconds.
        credentials: TLS certificates and token; None: plaintext without a token.
    """

    def __init__(
        self,
        target: str = DEFAULT_PREDICTOR,
        *,
        timeout: float = 30.0,
        stream_timeout: float = 600.0,
        credentials: Credentials | None = None,
    ) -> None:
        super().__init__(
            AsyncPredictClient(
                target, timeout=timeout, stream_timeout=stream_timeout, credentials=credentials
            )
        )

    predict = blocking(AsyncPredictClient.predict)
    predict_stream = iterating(AsyncPredictClient.predict_stream)
    info = blocking(AsyncPredictClient.info)
