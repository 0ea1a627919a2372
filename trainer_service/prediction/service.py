"""Composition root of the predict service, which is a process of its own."""

from __future__ import annotations

import asyncio
import sys

import structlog
from prometheus_client import CollectorRegistry

from mentorgrad.domain.prediction import PredictorInfo
from mentorgrad.errors import InvalidInput
from mentorgrad.paths import check_temporary_folder
from mentorgrad.predictor import Predictor
from mentorgrad.v1.predict_service_pb2_grpc import add_PredictServiceServicer_to_server
from mentorgrad.wire import tracing
from service_common import logs
from service_common.metrics import exposed
from service_common.security import Security, protect
from service_common.server import Server, announce, serve_until_told
from trainer_service.prediction.batching import PredictionBatches
from trainer_service.prediction.metrics import PredictMetrics
from trainer_service.prediction.servicer import SERVICE, PredictServicer
from trainer_service.prediction.settings import PredictorSettings

log = structlog.get_logger(__name__)

CHECK_SECONDS = 30.0
"""Timeout of the health check, which predicts after a failure, behind the texts that wait."""


class PredictServer:
    """A running predict service.

    Args:
        predictor: Predicts; closed together with the server.
        info: What it predicts with.
        listen: ``HOST:PORT``; port 0: any free port.
        queue_limit: Maximum number of texts that wait.
        registry: Registry of the Prometheus metrics.
        security: TLS and authentication settings.
    """

    def __init__(
        self,
        predictor: Predictor,
        info: PredictorInfo,
        listen: str = "127.0.0.1:0",
        *,
        queue_limit: int = 1 << 14,
        registry: CollectorRegistry | None = None,
        security: Security | None = None,
    ) -> None:
        registry = registry or CollectorRegistry()
        metrics = PredictMetrics(registry, lambda: self._batches.waiting)
        self._batches = PredictionBatches(
            predictor, queue_limit=queue_limit, predicted=metrics.predicted
        )
        self._server = Server(
            listen,
            [SERVICE],
            check=self._batches.check,
            patience=CHECK_SECONDS,
            registry=registry,
            security=security,
        )
        servicer = PredictServicer(self._batches, info)
        add_PredictServiceServicer_to_server(servicer, self._server.grpc)  # type: ignore[no-untyped-call]

    @property
    def address(self) -> str:
        """``HOST:PORT``, once it is started."""
        return self._server.address

    async def start(self) -> str:
        """Starts to serve; returns the address with the actual port.

        Raises:
            Unavailable: The address cannot be bound.
        """
        return await self._server.start()

    async def stop(self, grace: float = 3.0) -> None:
        """Reports NOT_SERVING, gives open calls `grace` seconds to end, and frees the model."""
        await self._server.drain()
        await self._server.stop(grace)
        await self._batches.close()


async def serve(settings: PredictorSettings) -> None:
    """Serves until SIGINT or SIGTERM. When ready, prints one JSON line with the addresses to
    standard output.

    Args:
        settings: Settings of the service.

    Raises:
        MentorgradError: A setting is wrong, the result or its model cannot be loaded, or the
            address is in use.
    """
    check_temporary_folder()
    import torch  # late, as its import takes seconds: a wrong setting is said at once

    from trainer_service.prediction.predictor import load

    security = protect(settings)
    torch.set_num_threads(settings.threads)
    predictor = load(
        settings.result,
        None if settings.use == "auto" else settings.use,
        device=None if settings.device == "auto" else settings.device,
        model=settings.model,
        model_roots=settings.model_root or None,
        cache_dir=settings.cache_dir,
        tuned_models=settings.tuned_model,
    )
    if predictor.takes_images:
        predictor.close()
        raise InvalidInput.field("result", "classifies images; a service is sent texts alone")
    info = predictor.info
    registry = CollectorRegistry()
    server = PredictServer(
        predictor,
        info,
        settings.listen,
        queue_limit=settings.queue_limit,
        registry=registry,
        security=security,
    )
    with exposed(settings.metrics, registry) as shown:
        address = await server.start()
        log.info("serving", address=address, metrics=shown, model=info.model, use=info.use)
        await serve_until_told(
            server, settings.drain_seconds, lambda: announce("predictor", address, shown)
        )


def run(settings: PredictorSettings) -> None:
    """Configures logging and tracing, and serves in this process; see `serve`."""
    logs.configure(settings.log_level, settings.log_format)
    if missing := tracing.configure("mentorgrad-predictor"):
        log.warning("no_traces", reason=missing)
    asyncio.run(serve(settings))
    tracing.flush()
    sys.stdout.flush()
