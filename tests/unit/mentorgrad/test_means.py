from __future__ import annotations

import math
import sys
from statistics import StatisticsError, fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.means import mean

MAX = sys.float_info.max


@given(st.lists(st.floats(), min_size=1, max_size=8))
def test_any_figures_have_a_mean_within_their_range(figures: list[float]) -> None:
    found = mean(figures)
    if any(map(math.isnan, figures)) or {math.inf, -math.inf} <= set(figures):
        assert math.isnan(found)
    elif all(map(math.isfinite, figures)):
        assert min(figures) <= found <= max(figures)
        if all(abs(figure) < MAX / 8 for figure in figures):
            assert math.isclose(found, fmean(figures), rel_tol=1e-15)
    else:
        assert math.isinf(found)


def test_figures_whose_sum_is_no_float_have_one_all_the_same() -> None:
    assert mean([MAX, MAX]) == MAX
    assert mean([MAX, MAX, -MAX, -MAX]) == 0.0
    assert mean([8.988465674311579e307, 8.98846567431158e307]) == 8.98846567431158e307


def test_equal_figures_are_their_mean() -> None:
    assert mean([3002399751580331.0] * 3) == 3002399751580331.0


def test_no_figures_have_none() -> None:
    with pytest.raises(StatisticsError):
        mean([])
