"""Curves of runs by groups: means and intervals at common steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mentorgrad.reports.group_view import MOST_STEPS, RunCurve, groups_view, t_quantile


def curve(group: str, points: dict[int, float], run_id: str = "r") -> RunCurve:
    return RunCurve(run_id, group, tuple(points), tuple(points.values()))


@pytest.mark.parametrize("freedom", [1, 2, 3, 10, 20, 21, 50, 999])
def test_the_quantile_is_student_s(freedom: int) -> None:
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-4)


def test_a_group_has_the_mean_and_the_interval_of_its_runs() -> None:
    runs = [curve("a", {1: loss, 2: 2 * loss}, f"r{loss}") for loss in (1.0, 2.0, 6.0)]
    (found,) = groups_view("arm", runs, is_stepped=False).groups
    assert (found.name, found.runs, found.missing) == ("a", ("r1.0", "r2.0", "r6.0"), 0)
    assert (found.steps, found.means) == ((1, 2), (3.0, 6.0))
    low, high = stats.t.interval(0.95, 2, loc=3.0, scale=stats.sem([1.0, 2.0, 6.0]))
    assert (found.lows[0], found.highs[0]) == pytest.approx((low, high), rel=1e-4)


def test_the_steps_are_those_that_all_runs_reach() -> None:
    runs = [curve("a", {1: 9.0, 5: 5.0, 9: 1.0}), curve("a", {3: 4.0, 7: 2.0})]
    (stepped,) = groups_view("arm", runs, is_stepped=True).groups
    assert (stepped.steps, stepped.means) == ((3, 5, 7), (6.5, 4.5, 3.5))
    (between,) = groups_view("arm", runs, is_stepped=False).groups
    assert (between.steps, between.means) == ((3, 5, 7), (5.5, 4.0, 2.5))
    apart = [curve("a", {1: 1.0, 2: 1.0}), curve("a", {3: 1.0})]
    assert groups_view("arm", apart, is_stepped=True).groups[0].steps == ()


def test_one_run_has_no_interval_and_none_has_no_curve() -> None:
    runs = [curve("", {1: 1.0}), curve("b", {1: 2.0}), curve("a", {1: math.nan})]
    found = {group.name: group for group in groups_view("arm", runs, is_stepped=True).groups}
    assert list(found) == ["a", "b", ""]
    assert (found["b"].means, found["b"].lows, found["b"].highs) == ((2.0,), (None,), (None,))
    assert (found["a"].runs, found["a"].missing, found["a"].steps) == ((), 1, ())


def test_a_long_curve_is_thinned_with_both_ends() -> None:
    steps = dict.fromkeys(range(1, 2000), 1.0)
    (found,) = groups_view("arm", [curve("a", steps)], is_stepped=False).groups
    assert (len(found.steps), found.steps[0], found.steps[-1]) == (MOST_STEPS, 1, 1999)


@given(
    st.lists(
        st.dictionaries(st.integers(1, 9), st.floats(), max_size=5).map(
            lambda points: dict(sorted(points.items()))
        ),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
def test_means_lie_among_the_losses_and_within_their_interval(
    curves: list[dict[int, float]], is_stepped: bool
) -> None:
    (found,) = groups_view("arm", [curve("a", points) for points in curves], is_stepped).groups
    losses = [loss for points in curves for loss in points.values() if math.isfinite(loss)]
    assert len(found.runs) + found.missing == len(curves)
    assert len(found.steps) == len(found.means) == len(found.lows) == len(found.highs)
    for mean, low, high in zip(found.means, found.lows, found.highs, strict=True):
        assert np.isfinite(mean)
        slack = 1e-9 * max(abs(min(losses)), abs(max(losses)), 1e-290)  # of interpolation
        assert min(losses) - slack <= mean <= max(losses) + slack
        assert low is None or low <= mean
        assert high is None or mean <= high
