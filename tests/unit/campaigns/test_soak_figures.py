"""Figures of a soak, of calls that are made up."""

from __future__ import annotations

import math
from typing import Any

from campaigns.soak.figures import Span, percentile, ratio_of_tails, summary


def calls(begin: float, seconds: list[float], code: str = "OK") -> list[dict[str, Any]]:
    return [{"at": begin + n, "seconds": s, "code": code} for n, s in enumerate(seconds)]


def test_a_percentile_lies_between_times() -> None:
    assert percentile([0.0, 1.0, 2.0], 0.5) == 1.0
    assert percentile([0.0, 1.0], 0.99) == 0.99
    assert math.isnan(percentile([], 0.99))


def test_times_belong_to_the_phase_in_which_they_began() -> None:
    spans = [Span("attack", 0.0, 10.0), Span("burn", 20.0, 30.0), Span("faults", 30.0, 40.0)]
    made = [
        *calls(0.0, [0.02] * 10),
        *calls(12.0, [9.0] * 5),  # between phases: a new one settles
        *calls(20.0, [0.01] * 10),
        *calls(30.0, [5.0], "STORE_AWAY"),
    ]
    found = summary(made, spans)
    assert found["attack"] == {
        "calls": 10,
        "failed": {},
        "p50 ms": 20.0,
        "p95 ms": 20.0,
        "p99 ms": 20.0,
    }
    assert found["burn"]["p99 ms"] == 10.0
    assert found["faults"]["failed"] == {"STORE_AWAY": 1}
    assert found["faults"]["calls"] == 0  # a call that failed has no time
    assert found["p99 attack/burn"] == 2.0
    assert found["interval"] == [2.0, 2.0]


def test_a_machine_that_slows_down_is_the_same_to_both() -> None:
    attack, burn = [[0.03] * 50, [0.3] * 50], [[0.01] * 50, [0.1] * 50]
    assert [round(figure, 6) for figure in ratio_of_tails(attack, burn)] == [3.0, 3.0, 3.0]


def test_the_interval_is_as_wide_as_the_pairs_differ() -> None:
    ratio, low, high = ratio_of_tails([[0.02] * 50, [0.04] * 50], [[0.01] * 50, [0.01] * 50])
    assert round(low, 6) == 2.0
    assert round(high, 6) == round(ratio, 6) == 4.0  # of all times, the tail is the slower pair's


def test_without_pairs_there_is_no_ratio() -> None:
    assert all(math.isnan(figure) for figure in ratio_of_tails([], [[0.1]]))
