"""Reads what a service shows for Prometheus."""

from __future__ import annotations

import urllib.request

from prometheus_client.parser import text_string_to_metric_families


class Figures:
    """One look at a service's metrics.

    Args:
        address: ``HOST:PORT``.
    """

    def __init__(self, address: str) -> None:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=120) as response:
            self.text = response.read().decode()
            """As the service writes them."""
        self._samples = [
            sample
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
        ]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples with these labels, whatever their others; 0: there is
        none."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )
