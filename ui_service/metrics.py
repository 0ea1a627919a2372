"""Prometheus metrics of the page."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector


class UiMetrics:
    """Metrics of the page.

    Args:
        registry: Registry of the metrics; one per process.
        streams: Returns the number of open streams.
        feeds: Returns the number of runs that are followed.
    """

    def __init__(
        self, registry: CollectorRegistry, streams: Callable[[], int], feeds: Callable[[], int]
    ) -> None:
        ProcessCollector(registry=registry)
        for name, text, count in (
            ("mentorgrad_ui_streams", "Open streams of browsers, one for each tab.", streams),
            ("mentorgrad_ui_followed_runs", "Runs followed at the trainer.", feeds),
        ):
            Gauge(name, text, registry=registry).set_function(count)
