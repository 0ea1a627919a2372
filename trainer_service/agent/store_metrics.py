"""Prometheus metrics of what the store holds: the same at every service with this store."""

from __future__ import annotations

from collections import Counter

from prometheus_client import CollectorRegistry, Gauge

from run_store.protocols import RunStore

_STATES = ("alive", "silent")
_SERVICES = ("trainer", "worker")


class StoreMetrics:
    """The queue and the agents of a store.

    Args:
        registry: Registry of the metrics; one per process.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._queue = Gauge(
            "mentorgrad_trainer_queue_length", "Runs that wait for a worker.", registry=registry
        )
        self._agents = Gauge(
            "mentorgrad_trainer_agents",
            "Trainers and workers of the store: those that report, and those that fell silent "
            "within the last day without having ended.",
            ("service", "state"),
            registry=registry,
        )

    def read(self, store: RunStore) -> None:
        """Reads the store; cheap enough to be done every few seconds.

        Raises:
            Unavailable: The store does not answer.
        """
        self._queue.set(store.queued())
        found = Counter(
            (agent.service, _STATES[not agent.is_alive()]) for agent in store.list_workers()
        )
        for service in _SERVICES:
            for state in _STATES:
                self._agents.labels(service, state).set(found[service, state])
