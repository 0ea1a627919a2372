"""Places of calls: in all, of one caller, of administrators, and of those who wait."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.errors import ResourceExhausted
from service_common.authorization import stranger
from service_common.places import CallKind, Holder, Limit, Newest, Places, Rates, Turns

A, B, C = Holder("token a"), Holder("token b"), Holder("token c")
ADMIN, OTHER_ADMIN = Holder("token x", is_admin=True), Holder("token y", is_admin=True)
CALLS = CallKind.UNARY


@pytest.fixture
def places() -> Places:
    return Places({CALLS: Limit(3, 2), CallKind.SERVER_STREAM: Limit(1, 1)})


def test_one_caller_and_all_of_them_have_so_many(places: Places) -> None:
    release = places.take(CALLS, A)
    places.take(CALLS, A)
    with pytest.raises(ResourceExhausted, match="calls in progress: 2 of token a") as caught:
        places.take(CALLS, A)
    assert caught.value.reason == "TOO_MANY_CALLS"
    places.take(CALLS, B)
    with pytest.raises(ResourceExhausted, match="3 of all callers"):
        places.take(CALLS, C)
    release()
    places.take(CALLS, C)
    assert places.taken(CALLS) == 3


def test_kinds_have_their_places_apart(places: Places) -> None:
    places.take(CallKind.SERVER_STREAM, A)
    with pytest.raises(ResourceExhausted):
        places.take(CallKind.SERVER_STREAM, B)
    places.take(CALLS, A)


def test_administrators_find_a_place_when_all_others_are_taken(places: Places) -> None:
    for caller in (A, A, B):
        places.take(CALLS, caller)
    places.take(CALLS, ADMIN)
    places.take(CALLS, OTHER_ADMIN)
    with pytest.raises(ResourceExhausted):
        places.take(CALLS, OTHER_ADMIN)


def test_what_is_given_back_leaves_nothing(places: Places) -> None:
    for _ in range(3):
        places.take(CALLS, A)()
    assert not places._taken


@given(st.sampled_from([0.1, 3.0, 200.0]), st.lists(st.floats(0.0, 4.0), min_size=1, max_size=30))
def test_a_caller_makes_calls_at_its_rate(rate: float, pauses: list[float]) -> None:
    now = [0.0]
    rates = Rates(lambda: now[0])
    begun = 0

    def is_begun() -> bool:
        try:
            rates.count("alice", rate)
        except ResourceExhausted as error:
            return not (error.reason == "CALL_RATE" and (error.retry_after or 0.0) > 0.0)
        return True

    assert is_begun()  # also at a rate of less than a call in the time of a burst
    for pause in pauses:
        now[0] += pause
        begun += sum(is_begun() for _ in range(5))
        assert begun + 1 <= rate * (now[0] + max(2.0, 1.0 / rate)) + 1e-6
        rates.count("bob", 1000.0)


@given(st.floats(0.001, 0.5), st.floats(1.0, 1e6))
def test_the_first_call_is_always_taken(rate: float, now: float) -> None:
    Rates(lambda: now).count("alice", rate)


def test_callers_at_rest_are_forgotten() -> None:
    now = [0.0]
    rates = Rates(lambda: now[0])
    for number in range(3000):
        rates.count(f"owner {number}", 1.0)
        now[0] += 0.01
    assert len(rates._due) <= 1024


async def test_turns_are_waited_for() -> None:
    turns, order = Turns(Limit(2, 1)), []
    go_on = asyncio.Event()

    async def receives(caller: Holder) -> None:
        async with turns.place(caller):
            order.append(caller)
            await go_on.wait()

    tasks = [asyncio.create_task(receives(caller)) for caller in (A, A, B, C, ADMIN)]
    while len(order) < 3:
        await asyncio.sleep(0)
    assert order == [A, B, ADMIN]
    go_on.set()
    await asyncio.gather(*tasks)
    assert set(order) == {A, B, C, ADMIN}


async def test_the_newest_wait_and_the_oldest_ends() -> None:
    newest = Newest(2, 60.0)

    async def waits() -> None:
        async with newest.place():
            await asyncio.Event().wait()

    tasks = []
    for _ in range(3):
        tasks.append(asyncio.create_task(waits()))
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await tasks[0]
    assert not tasks[1].done()
    assert not tasks[2].done()
    async with newest.place():
        pass
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not newest._waiting


async def test_nobody_waits_longer_than_allowed() -> None:
    with pytest.raises(TimeoutError):
        async with Newest(2, 0.01).place():
            await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("peer", "counted"),
    [
        ("ipv4:10.0.0.5:50312", "address 10.0.0.5"),
        ("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:443", "address 2001:db8:1:2::/64"),
        ("ipv6:%5B::ffff:10.0.0.5%5D:443", "address 10.0.0.5"),
        ("ipv6:%5Bfe80::1%25eth0%5D:443", "address fe80::/64"),
        ("unix:/run/socket", "address unix:/run/socket"),
        ("", "address "),
    ],
)
def test_an_address_counts_without_its_port(peer: str, counted: str) -> None:
    assert stranger(peer) == Holder(counted)
