"""The sender over a real store, with messages that fail as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from mentorgrad.domain.event import Created
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import Unavailable
from run_store.outbox import Delivery
from run_store.protocols import RunStore
from run_store.temporary_store import TemporaryRunStore
from trainer_service.webhooks import sender as sender_module
from trainer_service.webhooks.endpoint import Endpoint
from trainer_service.webhooks.sender import WebhookSender, pause_after

ENDPOINTS = {name: Endpoint(name, f"https://{name}.test") for name in ("ops", "desk")}
NOW = timedelta(0)


@pytest.fixture
def store() -> Iterator[RunStore]:
    made = TemporaryRunStore()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(sender_module, "_EXPIRE_SECONDS", 0.01)


def cancelled(store: RunStore, *webhooks: str) -> str:
    run_id = store.create(Created(RunSpec(webhooks=webhooks)))[0].run_id
    store.transition(run_id, RunState.CANCELLED)
    return run_id


class Wire:
    """Takes messages; those to a webhook in `failing` fail."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.failing: dict[str, Exception] = {}
        self.failed: set[tuple[str, str]] = set()
        self.tried = asyncio.Event()

    async def post(self, endpoint: Endpoint, delivery: Delivery, link: str) -> None:
        self.tried.set()
        if endpoint.name in self.failing:
            self.failed.add((endpoint.name, delivery.run_id))
            raise self.failing[endpoint.name]
        self.sent.append((endpoint.name, delivery.run_id))


def sender_of(store: RunStore, wire: Wire, registry: Any = None, **more: Any) -> WebhookSender:
    given = {"pause": lambda attempt: NOW} | more
    return WebhookSender(store, ENDPOINTS, "", registry, post=wire.post, **given)


async def emptied(store: RunStore, *others: str) -> None:
    """Waits until nothing waits but for other webhooks."""
    while store.waiting_deliveries().keys() - {*others}:
        await asyncio.sleep(0.01)


async def test_one_that_fails_delays_no_other_and_gets_it_in_the_end(store: RunStore) -> None:
    wire, registry = Wire(), CollectorRegistry()
    wire.failing["ops"] = Unavailable("it answers with status 500")
    sender = sender_of(store, wire, registry)
    runs = [cancelled(store, "ops", "desk", "unknown") for _ in range(3)]
    with capture_logs() as logs:
        sender.start()
        await emptied(store, "ops", "unknown")
        while len(wire.failed) < len(runs):
            await asyncio.sleep(0.01)
        assert sorted(wire.sent) == [("desk", run_id) for run_id in runs]
        wire.failing.clear()
        await emptied(store, "unknown")
        await sender.close()
    assert sorted(wire.sent)[3:] == [("ops", run_id) for run_id in runs]
    warned = [line for line in logs if line["event"] == "webhook_failed"]
    assert sorted(line["run_id"] for line in warned if line["log_level"] == "warning") == runs

    def count(webhook: str, outcome: str) -> float:
        labels = {"webhook": webhook, "outcome": outcome}
        name = "mentorgrad_trainer_webhook_messages_total"
        return registry.get_sample_value(name, labels) or 0

    assert (count("ops", "sent"), count("desk", "sent"), count("desk", "failed")) == (3, 3, 0)
    assert count("ops", "failed") >= 3


async def test_a_bug_costs_a_message_its_turn_only(store: RunStore) -> None:
    wire = Wire()
    wire.failing["ops"] = ZeroDivisionError()
    sender = sender_of(store, wire)
    cancelled(store, "ops")
    sender.start()
    await wire.tried.wait()
    wire.failing.clear()
    await emptied(store)
    await sender.close()
    assert len(wire.sent) == 1


async def test_what_the_end_of_the_service_makes_due_is_still_sent(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "_POLL_SECONDS", 3600.0)
    wire = Wire()
    sender = sender_of(store, wire)
    sender.start()
    run_id = cancelled(store, "ops")
    await sender.close(3600)
    assert wire.sent == [("ops", run_id)]


async def test_one_that_was_never_started_sends_nothing_at_its_end(store: RunStore) -> None:
    wire = Wire()
    cancelled(store, "ops")
    await sender_of(store, wire).close()
    assert wire.sent == []


async def test_a_message_that_hangs_holds_up_no_stop_and_is_kept(store: RunStore) -> None:
    async def hang(endpoint: Endpoint, delivery: Delivery, link: str) -> None:
        started.set()
        await asyncio.sleep(3600)

    started = asyncio.Event()
    sender = WebhookSender(store, ENDPOINTS, post=hang)
    cancelled(store, "ops")
    sender.start()
    await started.wait()
    await sender.close(0)
    assert store.waiting_deliveries()["ops"].count == 1


async def test_after_a_day_it_is_given_up_and_the_log_says_so(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "KEPT", timedelta(seconds=-60))
    run_id = cancelled(store, "unknown")
    sender = WebhookSender(store, {})
    with capture_logs() as logs:
        await sender.expire()
    (line,) = logs
    assert (line["event"], line["webhook"], line["run_id"]) == (
        "webhook_given_up",
        "unknown",
        run_id,
    )
    assert store.waiting_deliveries() == {}


async def test_a_store_that_is_away_for_a_while_ends_nothing(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, asked = Wire(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def away() -> frozenset[str]:
        loop.call_soon_threadsafe(asked.set)
        raise Unavailable("the run store does not answer")

    run_id = cancelled(store, "ops")
    sender = sender_of(store, wire)
    with monkeypatch.context() as patch:
        patch.setattr(store, "due_webhooks", away)
        sender.start()
        await asked.wait()
    await emptied(store)
    await sender.close()
    assert wire.sent == [("ops", run_id)]


@given(st.integers(1, 10_000))
def test_pauses_grow_up_to_a_quarter_of_an_hour(attempt: int) -> None:
    pause = pause_after(attempt).total_seconds()
    assert 1 <= pause <= 900
    assert pause >= min(2.0 ** min(attempt, 16), 900) / 2
