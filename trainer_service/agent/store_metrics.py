"""Prometheus metrics of what the store holds: the same at every service with this store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

from prometheus_client import CollectorRegistry, Gauge

from run_store.outbox import Waiting
from run_store.protocols import RunStore

_STATES = ("alive", "silent")
_SERVICES = ("trainer", "worker")
_NONE = Waiting(0, timedelta(0))


class StoreMetrics:
    """The queue, the agents and the outbox of a store.

    Args:
        registry: Registry of the metrics; one per process.
        webhooks: Names of the webhooks of the service.
    """

    def __init__(self, registry: CollectorRegistry, webhooks: Iterable[str] = ()) -> None:
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
        self._waiting = Gauge(
            "mentorgrad_trainer_webhook_queue_length",
            "Messages to a webhook that are still to be sent.",
            ("webhook",),
            registry=registry,
        )
        self._oldest = Gauge(
            "mentorgrad_trainer_webhook_oldest_seconds",
            "How long the oldest of these messages has waited; 0 without one.",
            ("webhook",),
            registry=registry,
        )
        self._webhooks = set(webhooks)

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
        messages = store.waiting_deliveries()
        self._webhooks |= messages.keys()
        for webhook in self._webhooks:
            waiting = messages.get(webhook, _NONE)
            self._waiting.labels(webhook).set(waiting.count)
            self._oldest.labels(webhook).set(waiting.oldest.total_seconds())
