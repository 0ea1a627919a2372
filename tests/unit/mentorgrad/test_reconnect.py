"""The pauses between attempts, and how long a watch keeps trying."""

from __future__ import annotations

import asyncio
from itertools import islice

import pytest

from mentorgrad.errors import DeadlineExceeded, Unavailable
from mentorgrad.wire import reconnect
from mentorgrad.wire.reconnect import ReconnectTimer, backoff


def test_pauses_double_up_to_the_longest_and_are_shortened_at_random() -> None:
    draws = []

    def draw(low: float, high: float) -> float:
        draws.append((low, high))
        return high

    assert list(islice(backoff(0.5, 3.0, draw), 5)) == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert draws == [(0.5, 1.0)] * 5
    assert all(0.5 <= pause <= 1.0 for pause in islice(backoff(1.0, 1.0), 100))


class Clock:
    now = 0.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: clock)
    monkeypatch.setattr(reconnect, "backoff", lambda *ends: backoff(*ends, lambda _, high: high))
    return clock


def test_a_watch_gives_up_when_its_patience_ends_and_a_connection_restores_it(clock: Clock) -> None:
    timer, lost = ReconnectTimer(patience=1.0, longest=600.0), Unavailable("gone")
    assert [timer.failed(lost), timer.failed(lost)] == [0.1, 0.2]
    clock.now = 0.9
    assert timer.failed(lost) is None
    timer.recovered()
    assert timer.failed(lost) == 0.1


def test_a_stream_that_lived_was_connected(clock: Clock) -> None:
    timer, lost = ReconnectTimer(patience=1.0, longest=600.0), Unavailable("gone")
    assert timer.failed(lost) == 0.1
    timer.opened()
    clock.now = 100.0
    assert timer.failed(lost) == 0.1


def test_its_own_deadline_and_a_normal_end_are_no_loss(clock: Clock) -> None:
    timer = ReconnectTimer(patience=0.05, longest=2.0)
    timer.opened()
    clock.now = 2.0
    assert timer.failed(DeadlineExceeded("in time")) == 0.1
    assert timer.ended_well() == 0.2
    assert timer.failed(Unavailable("gone")) is None
