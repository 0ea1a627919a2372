"""Prometheus metrics that both services share, and the HTTP endpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from mentorgrad.errors import Unavailable
from mentorgrad.wire.addresses import check_address
from service_common import metrics_server

log = structlog.get_logger(__name__)

CALL_BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 600.0)
"""Histogram buckets of call durations, seconds; a call that follows a run may last 10 minutes."""
ANSWER_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Histogram buckets of an LLM's response times, seconds."""


class CallMetrics:
    """Metrics of every gRPC server.

    Args:
        registry: Registry of the metrics; one per process.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        ProcessCollector(registry=registry)
        self.calls = Counter(
            "mentorgrad_grpc_calls",
            "Completed gRPC calls, by status code.",
            ("service", "method", "code"),
            registry=registry,
        )
        self.seconds = Histogram(
            "mentorgrad_grpc_call_seconds",
            "Duration of gRPC calls until the status, in seconds.",
            ("service", "method"),
            buckets=CALL_BUCKETS,
            registry=registry,
        )
        self.in_progress = Gauge(
            "mentorgrad_grpc_calls_in_progress", "gRPC calls in progress.", registry=registry
        )
        self.serving = Gauge(
            "mentorgrad_serving",
            "1 if the health service reports SERVING, otherwise 0.",
            registry=registry,
        )


@contextlib.contextmanager
def exposed(listen: str, registry: CollectorRegistry) -> Iterator[str]:
    """Serves a registry at ``http://HOST:PORT/metrics`` while the block runs.

    Args:
        listen: ``HOST:PORT``; port 0: any free port; empty: no metrics.
        registry: Registry of the metrics.

    Returns:
        The address with the actual port; empty without metrics.

    Raises:
        InvalidInput: `listen` is malformed.
        Unavailable: The address cannot be bound.
    """
    if not listen:
        yield ""
        return
    host, _, port = check_address("metrics", listen, listens=True).rpartition(":")
    with contextlib.ExitStack() as stack:
        try:
            served = metrics_server.served(host.strip("[]"), int(port), registry)
            bound = stack.enter_context(served)
        except OSError as error:
            raise Unavailable(f"cannot serve metrics on {listen}: {error.strerror}") from None
        yield f"{host}:{bound}"
