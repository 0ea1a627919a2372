"""Interface of the outbox: the messages to webhooks that are still to be sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from mentorgrad.domain.run import RunState

NOTIFIED = frozenset(
    state for state in RunState if state not in (RunState.QUEUED, RunState.RUNNING)
)
"""States whose beginning is told to the webhooks that a run's spec names."""


@dataclass(frozen=True)
class Delivery:
    """One message to one webhook: what became of a run."""

    webhook: str
    """Name of the webhook."""
    run_id: str
    """The run."""
    seq: int
    """Number of the event that changed the run's state."""
    state: RunState
    """The state that the run entered."""
    time: datetime
    """When it did."""
    name: str = ""
    """Display name of the run."""
    owner: str = ""
    """Owner of the run."""
    best_selection_loss: float | None = None
    """Lowest selection loss so far; None: there is none."""
    attempt: int = 0
    """Which claim of the message this is, from 1."""

    @property
    def event_id(self) -> str:
        """Names what happened; the same in all messages about it, so that who gets two can tell."""
        return f"{self.run_id}.{self.seq}"


@dataclass(frozen=True)
class Waiting:
    """The messages to one webhook that are still to be sent."""

    count: int
    """How many."""
    oldest: timedelta
    """For how long the oldest of them has waited."""


class OutboxStore(Protocol):
    """Stores the messages. The guarantees in `run_store.protocols` apply here too.

    A message is written in the transaction that changes its run's state, by the methods that change
    it, and outlives the run. It belongs to who has claimed it, until the claim ends: so a message
    whose claimant has died is sent again, and two services do not both send it at once.
    """

    def due_webhooks(self) -> frozenset[str]:
        """Names of the webhooks with messages that may be claimed now; cheap enough to poll."""
        ...

    def claim_deliveries(self, webhook: str, lease: timedelta, most: int) -> tuple[Delivery, ...]:
        """Claims messages to a webhook: those that have been due for longest.

        Those that others claim at the same moment are passed over.

        Args:
            webhook: Name of the webhook.
            lease: How long the claim lasts; afterwards the messages are due again.
            most: Maximum number of messages.
        """
        ...

    def settle_delivery(self, delivery: Delivery) -> None:
        """Removes a message that has been sent; no-op if it has been claimed again since."""
        ...

    def retry_delivery(self, delivery: Delivery, delay: timedelta) -> None:
        """Makes a claimed message due again after `delay`; no-op if it has been claimed again
        since."""
        ...

    def expire_deliveries(self, kept: timedelta) -> tuple[Delivery, ...]:
        """Removes messages that nobody sends at present and that are older than `kept`, at most
        some hundred per call.

        Returns:
            What was removed.
        """
        ...

    def waiting_deliveries(self) -> Mapping[str, Waiting]:
        """Name of each webhook with messages → what waits."""
        ...
