"""Shares of a service's time: who waits, for how long, and what is measured."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.errors import ResourceExhausted
from service_common import shares
from service_common.shares import (
    BURST,
    FORGIVEN,
    LONGEST,
    MOST_RESERVED,
    RECENT,
    TOTAL,
    Account,
    Charged,
    Shares,
)

HALF = TOTAL / 2
"""The share of one of two owners."""


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(shares.asyncio, "sleep", clock.sleep)
    return clock


def begin(account: Account) -> None:
    asyncio.run(account.turn(begins=True))


def test_an_owner_alone_never_waits(clock: Clock) -> None:
    known = Shares(clock)
    account = known.account("a")
    for _ in range(10):
        begin(account)
        account.charge(100.0)
    assert clock.slept == []


def test_an_owner_that_is_ahead_waits_while_others_call(clock: Clock) -> None:
    known = Shares(clock)
    account = known.account("a")
    known.account("b")
    account.charge(BURST + 1.0 * HALF)
    begin(known.account("a"))
    assert clock.slept == [pytest.approx(1.0)]


def test_the_others_do_not_wait_for_it(clock: Clock) -> None:
    known = Shares(clock)
    known.account("a").charge(100.0)
    begin(known.account("b"))
    assert clock.slept == []


def test_who_would_wait_too_long_is_refused_and_comes_back_later(clock: Clock) -> None:
    known = Shares(clock)
    known.account("b")
    account = known.account("a")
    account.charge(100.0)
    with pytest.raises(ResourceExhausted, match="more than its share") as caught:
        begin(account)
    assert caught.value.reason == "SHARE_TAKEN"
    # However much it took, all but this is forgiven.
    assert caught.value.retry_after == pytest.approx(FORGIVEN - LONGEST)
    clock.now += FORGIVEN - LONGEST
    known.account("b")
    begin(account)
    assert clock.slept == [pytest.approx(LONGEST)]


@pytest.mark.parametrize("wait", [Account.turn, Account.next_response])
def test_the_messages_of_a_stream_wait_and_are_never_refused(
    clock: Clock, wait: Callable[[Account], Coroutine[Any, Any, None]]
) -> None:
    known = Shares(clock)
    known.account("b")
    account = known.account("a")
    account.charge(100.0)
    asyncio.run(wait(account))
    assert clock.slept == [pytest.approx(FORGIVEN)]


def test_the_connection_of_who_waits_is_held_meanwhile(clock: Clock) -> None:
    known = Shares(clock)
    known.account("b")
    held: list[float] = []
    account = known.account("a", hold=held.append)
    begin(account)
    assert held == []
    account.charge(BURST + 1.0 * HALF)
    begin(account)
    assert held == [pytest.approx(1.0, rel=0.01)]
    account.charge(100.0)
    with pytest.raises(ResourceExhausted):
        begin(account)
    asyncio.run(account.next_response())
    assert held[1:] == [LONGEST, LONGEST]


def test_refused_calls_are_counted_and_hold_the_connection(clock: Clock) -> None:
    known = Shares(clock)
    known.account("b")
    held: list[float] = []
    account = known.account("a", hold=held.append)
    for _ in range(10_000):
        account.refused()
        if held:
            break
    assert held
    assert clock.slept == []
    unlimited = known.account("c", is_limited=False, hold=held.append)
    unlimited.charge(100.0)
    count = len(held)
    unlimited.refused()
    assert len(held) == count


def test_those_who_wait_go_on_one_after_the_other(clock: Clock) -> None:
    known = Shares(clock)
    first = known.account("a")
    asyncio.run(first.turn())
    first.charge(0.4)
    first.close()
    cost = known.account("a")._owner.cost
    assert 0.05 < cost < MOST_RESERVED
    known.account("a").charge(BURST)
    waits = []
    for _ in range(3):
        known.account("b")
        account = known.account("a")
        before = clock.now
        asyncio.run(account.turn())
        clock.now = before  # all of them begin at once
        waits.append(clock.slept[-1])
    assert waits[1] - waits[0] == pytest.approx(cost / HALF, rel=0.01)
    assert waits[2] - waits[1] == pytest.approx(cost / HALF, rel=0.01)


def test_one_dear_request_reserves_little_for_the_next(clock: Clock) -> None:
    account = Shares(clock).account("a")
    account.charge(100.0)
    begin(account)
    assert account._owner.cost > MOST_RESERVED
    assert account._owner.reserved == MOST_RESERVED
    account.close()
    assert account._owner.reserved == 0.0


async def test_a_stream_that_waits_for_something_else_reserves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shares, "RESERVED", 0.0)
    account = Shares().account("a")
    await account.turn(begins=True)
    assert account._owner.reserved > 0.0
    await asyncio.sleep(0.01)
    assert account._owner.reserved == 0.0
    account.close()
    assert account._owner.reserved == 0.0


def test_callers_without_limits_count_and_do_not_wait(clock: Clock) -> None:
    known = Shares(clock)
    administrator = known.account("admin", is_limited=False)
    administrator.charge(100.0)
    begin(administrator)
    assert clock.slept == []
    account = known.account("a")
    account.charge(BURST + HALF)
    begin(account)
    assert clock.slept == [pytest.approx(1.0)]


def test_who_has_not_called_for_a_while_has_no_share(clock: Clock) -> None:
    known = Shares(clock)
    known.account("b")
    clock.now += RECENT
    account = known.account("a")
    account.charge(100.0)
    begin(account)
    assert clock.slept == []


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0.0, 3.0), st.floats(0.0, 2.0)), max_size=40
    )
)
def test_no_owner_takes_more_than_its_share(calls: list[tuple[str, float, float]]) -> None:
    """Of owners that all call, none gets further ahead than a burst and its dearest call."""
    clock, taken, dearest = Clock(), dict.fromkeys("abc", 0.0), dict.fromkeys("abc", 0.0)
    known = Shares(clock)
    for owner, pause, cost in calls:
        clock.now += pause
        for other in "abc":
            known.account(other)
        account = known.account(owner)
        wait = known.wait(account._owner)
        if wait > 0.0:
            continue  # an owner that is ahead begins nothing
        account.charge(cost)
        taken[owner] += cost
        dearest[owner] = max(dearest[owner], cost)
        for name, total in taken.items():
            assert total <= clock.now * TOTAL / 3 + BURST + dearest[name] + 1e-9


def test_forgotten_are_those_at_rest(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "_REMEMBERED", 2)
    known = Shares(clock)
    known.account("ahead").charge(100.0)
    known.account("at rest")
    clock.now += RECENT
    known.account("new")
    assert set(known._owners) == {"ahead", "new"}


def spin(seconds: float = 0.01) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


async def _own() -> str:
    spin()
    await asyncio.sleep(0)
    return "done"


async def _thread() -> str:
    await asyncio.to_thread(spin)
    return "done"


async def _fails() -> str:
    spin()
    raise ValueError("broken")


@pytest.mark.parametrize("work", [_own, _thread])
def test_what_a_call_does_is_charged(work: Callable[[], Any]) -> None:
    async def main() -> tuple[str, float]:
        shares.charge_threads()
        account = Shares().account("a")
        shares.enter(account)
        return await Charged(account, work()), account._owner.ahead

    done, ahead = contextvars.copy_context().run(asyncio.run, main())
    assert done == "done"
    assert ahead >= 0.01


def test_errors_and_the_end_of_a_call_pass_through() -> None:
    ended = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def main() -> None:
        account = Shares().account("a")
        with pytest.raises(ValueError, match="broken"):
            await Charged(account, _fails())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await Charged(account, waits())

    asyncio.run(main())
    assert ended == [True]
