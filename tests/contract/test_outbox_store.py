"""What every `OutboxStore` guarantees."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mentorgrad.domain.event import Created
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import TRANSITIONS, DesiredState, RunState
from mentorgrad.domain.spec import RunSpec
from run_store.outbox import NOTIFIED, Delivery
from run_store.temporary_store import TemporaryRunStore
from run_store.visibility import OnBehalf
from tests.support.quick_runs import end_run

SPEC = RunSpec(Function(), name="first try", webhooks=("ops", "desk", "ops"))
MINUTE = timedelta(minutes=1)
NEVER, NOW = timedelta(days=1), timedelta(0)


def queued(store: Any, spec: RunSpec = SPEC) -> Any:
    return store.create(Created(spec))[0]


def claimed(store: Any, webhook: str = "ops", lease: timedelta = MINUTE, most: int = 10) -> Any:
    return store.claim_deliveries(webhook, lease, most)


def test_the_end_of_a_run_is_told_to_each_of_its_webhooks_once(opened: Any) -> None:
    before = datetime.now(UTC)
    run = queued(opened.store.seen_by(OnBehalf("alice", "")))
    end_run(opened.store, run, 0.25)
    queued(opened.store, replace(SPEC, webhooks=()))
    store = opened.reopen()
    assert store.due_webhooks() == {"ops", "desk"}
    (delivery,) = claimed(store)
    assert before <= delivery.time <= datetime.now(UTC)
    last = store.get_run(run.run_id).last_seq
    assert replace(delivery, time=before) == Delivery(
        webhook="ops",
        run_id=run.run_id,
        seq=last,
        state=RunState.SUCCEEDED,
        time=before,
        name="first try",
        owner="alice",
        best_selection_loss=store.get_run(run.run_id).best_selection_loss,
        attempt=1,
    )
    assert delivery.event_id == f"{run.run_id}.{last}"
    assert claimed(store, "desk")[0].event_id == delivery.event_id
    assert (store.due_webhooks(), claimed(store)) == (frozenset(), ())


def test_pauses_and_interruptions_are_told_and_a_cancel_that_waited(opened: Any) -> None:
    store = opened.store
    run_id = queued(store).run_id
    store.transition(run_id, RunState.PAUSED)
    store.transition(run_id, RunState.QUEUED)
    store.claim(run_id, "worker", MINUTE)
    store.set_desired(run_id, DesiredState.CANCEL)
    store.transition(run_id, RunState.INTERRUPTED)
    told = sorted(claimed(store), key=lambda delivery: delivery.seq)
    states = [delivery.state for delivery in told]
    assert states == [RunState.PAUSED, RunState.INTERRUPTED, RunState.CANCELLED]


def test_an_imported_run_is_told_to_nobody(opened: Any) -> None:
    store = opened.store
    run = queued(store)
    end_run(store, run, None)
    log = tuple(store.events(run.run_id))
    for delivery in claimed(store) + claimed(store, "desk"):
        store.settle_delivery(delivery)
    store.delete(run.run_id)
    store.import_run(log)
    assert store.due_webhooks() == frozenset()


def test_a_message_outlives_its_run(opened: Any) -> None:
    run = queued(opened.store)
    opened.store.transition(run.run_id, RunState.CANCELLED)
    opened.store.delete(run.run_id)
    assert claimed(opened.reopen())[0].run_id == run.run_id


def test_a_claim_that_ends_makes_the_message_due_and_its_holder_powerless(opened: Any) -> None:
    store = opened.store
    store.transition(queued(store).run_id, RunState.CANCELLED)
    (lost,) = claimed(store, lease=NOW)
    (again,) = claimed(store)
    assert (again.event_id, again.attempt) == (lost.event_id, 2)
    store.settle_delivery(lost)
    store.retry_delivery(lost, NOW)
    assert claimed(store) == ()
    store.retry_delivery(again, NEVER)
    assert claimed(store) == ()
    store.retry_delivery(again, NOW)
    (last,) = claimed(store)
    store.settle_delivery(last)
    store.retry_delivery(last, NOW)
    assert list(store.waiting_deliveries()) == ["desk"]


async def test_no_two_claims_get_the_same_message(opened: Any) -> None:
    store = opened.store
    for _ in range(12):
        store.transition(queued(store).run_id, RunState.CANCELLED)

    def some() -> list[str]:
        return [one.event_id for _ in range(4) for one in claimed(store, most=1)]

    found = await asyncio.gather(*(asyncio.to_thread(some) for _ in range(4)))
    assert len({event for events in found for event in events}) == sum(map(len, found))
    rest = [delivery.event_id for delivery in claimed(store, most=100)]
    assert len({*rest, *(event for events in found for event in events)}) == 12


def test_what_is_old_is_given_up_unless_it_is_being_sent(opened: Any) -> None:
    store = opened.store
    store.transition(queued(store).run_id, RunState.CANCELLED)
    assert store.expire_deliveries(MINUTE) == ()
    (held,) = claimed(store)
    (gone,) = store.expire_deliveries(-MINUTE)
    assert gone == replace(held, webhook="desk", attempt=0)
    store.retry_delivery(held, NOW)
    assert store.expire_deliveries(-MINUTE) == (held,)
    assert store.waiting_deliveries() == {}


def test_what_waits_is_counted_by_webhook(opened: Any) -> None:
    store = opened.store
    for _ in range(3):
        store.transition(queued(store).run_id, RunState.CANCELLED)
    store.settle_delivery(claimed(store, most=1)[0])
    waiting = store.waiting_deliveries()
    assert {name: found.count for name, found in waiting.items()} == {"ops": 2, "desk": 3}
    assert all(NOW <= found.oldest < MINUTE for found in waiting.values())


@pytest.fixture(scope="module")
def kept() -> Iterator[Any]:
    """A store for all examples of a property."""
    store = TemporaryRunStore()
    yield store
    store.close()


@settings(max_examples=15)
@given(st.data())
def test_messages_say_what_the_log_says(kept: Any, data: st.DataObject) -> None:
    """Whatever a run goes through, each beginning of a state that is told is told once."""
    store, run = kept, queued(kept)
    for _ in range(data.draw(st.integers(1, 6))):
        following = sorted(TRANSITIONS[run.state])
        if not following:
            break
        state = data.draw(st.sampled_from(following))
        if state is RunState.RUNNING:
            store.claim(run.run_id, "worker", MINUTE)
        elif state is RunState.SUCCEEDED:
            continue
        else:
            store.transition(run.run_id, state)
        run = store.get_run(run.run_id)
    entered = [
        (event.seq, event.payload.state)
        for event in store.events(run.run_id)
        if getattr(event.payload, "state", None) in NOTIFIED
    ]
    told = [(one.seq, one.state) for one in claimed(store) if one.run_id == run.run_id]
    assert sorted(told) == entered
