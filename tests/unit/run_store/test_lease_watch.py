"""Leases that were dated by a clock that was set meanwhile."""

from __future__ import annotations

from datetime import timedelta

import pytest

from run_store.lease_watch import LeaseWatch

LEASE = timedelta(seconds=15)
SECOND = 1_000_000
START = 1_000_000 * SECOND


class Clocks:
    """The clock that dates leases, which can be set, and the monotonic one."""

    def __init__(self) -> None:
        self.seconds, self.set_by = 0.0, 0.0
        self.watch = LeaseWatch(lambda: self.seconds)

    @property
    def now(self) -> int:
        return START + int((self.seconds + self.set_by) * SECOND)

    def lease(self, attempt: int = 1) -> tuple[int, int]:
        return attempt, self.now + LEASE.seconds * SECOND

    def run_out(self, token: tuple[int, int]) -> bool:
        return bool(self.watch.run_out({"r": token}, self.now, LEASE))


@pytest.mark.parametrize("jump", [-86_400.0, -20.0, 0.0, 20.0, 86_400.0])
def test_a_lease_lasts_as_long_as_it_says_whatever_is_done_to_the_clock(jump: float) -> None:
    at = Clocks()
    token = at.lease()
    assert not at.run_out(token)
    at.set_by = jump
    at.seconds = 14.0
    assert not at.run_out(token)
    at.seconds = 15.0
    assert at.run_out(token)


@pytest.mark.parametrize("ahead", [10.0, 600.0, 86_400.0])
def test_a_lease_of_a_clock_that_was_ahead_ends_after_its_length(ahead: float) -> None:
    at = Clocks()
    at.set_by = ahead
    token = at.lease()
    at.set_by = 0.0
    assert not at.run_out(token)
    at.seconds = 15.0
    assert at.run_out(token)


def test_a_lease_that_ran_out_before_it_was_seen_is_over_at_once() -> None:
    at = Clocks()
    token = at.lease()
    at.seconds = 15.0
    assert at.run_out(token)


def test_heartbeats_and_attempts_prolong_it() -> None:
    at = Clocks()
    assert not at.run_out(at.lease())
    for attempt in (1, 2):
        at.seconds += 14.0
        assert not at.run_out(at.lease(attempt))


def test_without_a_known_length_a_lease_may_be_long() -> None:
    at = Clocks()
    token = (1, at.now + 3600 * SECOND)
    assert not at.watch.run_out({"r": token}, at.now)
    at.seconds = 3599.0
    assert not at.watch.run_out({"r": token}, at.now)
    at.seconds = 3600.0
    assert at.watch.run_out({"r": token}, at.now) == {"r"}
