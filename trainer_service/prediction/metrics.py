"""Prometheus metrics of the predict service, in addition to those of its gRPC calls."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_ROW_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class PredictMetrics:
    """Metrics of predicted texts. Called on the service's event loop.

    Args:
        registry: Prometheus registry; one per process.
        waiting: Returns the number of texts that wait.
    """

    def __init__(self, registry: CollectorRegistry, waiting: Callable[[], int]) -> None:
        self._texts = Counter("mentorgrad_predict_texts", "Predicted texts.", registry=registry)
        self._together = Histogram(
            "mentorgrad_predict_batch_texts",
            "Texts that were predicted together.",
            buckets=_ROW_BUCKETS,
            registry=registry,
        )
        queue = Gauge("mentorgrad_predict_queue_length", "Texts that wait.", registry=registry)
        queue.set_function(waiting)

    def predicted(self, texts: int) -> None:
        """Records texts that were predicted together."""
        self._texts.inc(texts)
        self._together.observe(texts)
