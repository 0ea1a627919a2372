"""Places of calls: in all, of one caller, of administrators, and of those who wait."""

from __future__ import annotations

import asyncio

import pytest

from mentorgrad.errors import ResourceExhausted
from service_common.authorization import address_of
from service_common.places import CallKind, Holder, Limit, Newest, Places, Turns

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
    assert address_of(peer) == Holder(counted)
