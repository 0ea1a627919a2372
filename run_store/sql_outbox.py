"""Storage of the outbox in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mentorgrad.domain.event import Finished, RunEvent, StateChanged
from mentorgrad.domain.run import Run, RunState
from run_store import dialects, paging
from run_store.outbox import NOTIFIED, Delivery, Waiting
from run_store.sql_base import SqlBase
from run_store.tables import outbox

_EXPIRED_AT_ONCE = 500
"""Messages that are removed in one transaction."""


class SqlOutbox(SqlBase):
    """SQL implementation of `run_store.outbox.OutboxStore`."""

    def due_webhooks(self) -> frozenset[str]:
        """See `OutboxStore.due_webhooks`."""
        with self._asking() as connection:
            due = outbox.c.due_at <= dialects.now(connection)
            found = connection.execute(sa.select(outbox.c.webhook).where(due).distinct())
            return frozenset(found.scalars())

    def claim_deliveries(self, webhook: str, lease: timedelta, most: int) -> tuple[Delivery, ...]:
        """See `OutboxStore.claim_deliveries`."""
        with self._writing() as connection:
            now = dialects.now(connection)
            rows = connection.execute(
                sa.select(outbox)
                .where(outbox.c.webhook == webhook, outbox.c.due_at <= now)
                .order_by(outbox.c.due_at, outbox.c.run_id, outbox.c.seq)
                .limit(most)
                .with_for_update(skip_locked=True)
            ).all()
            claimed = tuple(_delivery(row, row.attempt + 1) for row in rows)
            for delivery in claimed:
                connection.execute(
                    sa.update(outbox)
                    .where(*_key(delivery))
                    .values(attempt=delivery.attempt, due_at=now + dialects.micros_of(lease))
                )
            return claimed

    def settle_delivery(self, delivery: Delivery) -> None:
        """See `OutboxStore.settle_delivery`."""
        with self._writing() as connection:
            connection.execute(sa.delete(outbox).where(*_claimed(delivery)))

    def retry_delivery(self, delivery: Delivery, delay: timedelta) -> None:
        """See `OutboxStore.retry_delivery`."""
        with self._writing() as connection:
            due = dialects.now(connection) + dialects.micros_of(delay)
            connection.execute(sa.update(outbox).where(*_claimed(delivery)).values(due_at=due))

    def expire_deliveries(self, kept: timedelta) -> tuple[Delivery, ...]:
        """See `OutboxStore.expire_deliveries`."""
        with self._writing() as connection:
            now = dialects.now(connection)
            rows = connection.execute(
                sa.select(outbox)
                .where(outbox.c.created_at < now - dialects.micros_of(kept), outbox.c.due_at <= now)
                .limit(_EXPIRED_AT_ONCE)
                .with_for_update(skip_locked=True)
            ).all()
            gone = tuple(_delivery(row, row.attempt) for row in rows)
            for delivery in gone:
                connection.execute(sa.delete(outbox).where(*_key(delivery)))
            return gone

    def waiting_deliveries(self) -> Mapping[str, Waiting]:
        """See `OutboxStore.waiting_deliveries`."""
        with self._reading() as connection:
            age = dialects.now(connection) - sa.func.min(outbox.c.created_at)
            rows = connection.execute(
                sa.select(
                    outbox.c.webhook, sa.func.count().label("waiting"), age.label("age")
                ).group_by(outbox.c.webhook)
            ).all()
        return {
            row.webhook: Waiting(row.waiting, timedelta(microseconds=max(row.age, 0)))
            for row in rows
        }


def post(connection: Connection, run: Run, new: Iterable[RunEvent]) -> None:
    """Writes the messages about new events of a run, in the transaction that appends these.

    Args:
        connection: Connection in a write transaction.
        run: The run as the events leave it.
        new: The events.
    """
    webhooks = dict.fromkeys(run.spec.webhooks)
    if not webhooks:
        return
    now = dialects.now(connection)
    for event in new:
        if not isinstance(event.payload, (StateChanged, Finished)):
            continue
        if event.payload.state not in NOTIFIED:
            continue
        for webhook in webhooks:
            row = {
                "webhook": webhook,
                "run_id": run.run_id,
                "seq": event.seq,
                "state": event.payload.state.value,
                "time": paging.micros(event.time),
                "name": run.spec.name,
                "owner": run.owner,
                "best_selection_loss": paging.rankable(run.best_selection_loss),
                "attempt": 0,
                "created_at": now,
                "due_at": now,
            }
            connection.execute(outbox.insert().values(row))


def _delivery(row: Any, attempt: int) -> Delivery:
    return Delivery(
        webhook=row.webhook,
        run_id=row.run_id,
        seq=row.seq,
        state=RunState(row.state),
        time=paging.moment(row.time),
        name=row.name,
        owner=row.owner,
        best_selection_loss=row.best_selection_loss,
        attempt=attempt,
    )


def _key(delivery: Delivery) -> list[sa.ColumnElement[bool]]:
    return [
        outbox.c.webhook == delivery.webhook,
        outbox.c.run_id == delivery.run_id,
        outbox.c.seq == delivery.seq,
    ]


def _claimed(delivery: Delivery) -> list[sa.ColumnElement[bool]]:
    """The message, if it has not been claimed again since."""
    return [*_key(delivery), outbox.c.attempt == delivery.attempt]
