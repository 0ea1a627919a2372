from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trainer_service.experiments.statistics import (
    Figures,
    differences,
    diverged,
    estimate,
    win_rate,
)

SEEDS = 10
EXPERIMENTS = 400
"""Of which it is counted how often an interval misses the truth."""


def _figures(table: np.ndarray) -> Figures:
    """float [tasks, variations, seeds] → figures."""
    return {
        (f"task{task}", f"variation{variation}"): dict(enumerate(map(float, seeds)))
        for task, of_task in enumerate(table)
        for variation, seeds in enumerate(of_task)
    }


# -- exact values -----------------------------------------------------------------------------


def test_difference_and_win_rate_of_pairs_by_hand() -> None:
    one = {("a", "x"): {0: 1.0, 1: 2.0, 2: 3.0}, ("b", "x"): {0: 10.0, 1: 20.0}}
    other = {("a", "x"): {0: 2.0, 1: 2.0, 2: 2.0}, ("b", "x"): {0: 13.0, 1: 25.0}}
    found = estimate(differences(one, other))
    assert found is not None
    assert found.mean == pytest.approx((0.0 - 4.0) / 2)  # of strata, not of pairs: those have -1.6
    assert found.low < found.mean < found.high
    assert found.count == 5
    assert win_rate(one, other) == pytest.approx(3.5 / 5)  # one tie
    assert win_rate(one, other, lower_is_better=False) == pytest.approx(1.5 / 5)


def test_only_pairs_count_in_which_both_have_the_figure() -> None:
    one = {("a", "x"): {0: 1.0, 1: 2.0, 2: math.nan, 3: 7.0}, ("b", "x"): {0: 1.0}}
    other = {("a", "x"): {1: 1.5, 2: 2.0, 3: math.inf, 4: 9.0}, ("c", "x"): {0: 1.0}}
    assert differences(one, other) == {("a", "x"): {1: 0.5}}
    assert diverged(one) == diverged(other) == 1


def test_a_run_that_diverged_loses_and_ties_with_its_like() -> None:
    one = {("a", "x"): {0: math.nan, 1: 1.0, 2: math.inf}}
    other = {("a", "x"): {0: 1.0, 1: -math.inf, 2: math.nan}}
    assert win_rate(one, other) == pytest.approx(0.5)
    assert win_rate(one, other, lower_is_better=False) == pytest.approx(0.5)
    assert win_rate({("a", "x"): {0: math.nan}}, other) == 0.0


def test_strata_that_are_half_done_do_not_mislead() -> None:
    """The subject's runs are mostly of the easy task, the other's of the hard one: over all runs
    the subject looks far better, though it is worse on both."""
    one = {
        ("easy", "x"): dict.fromkeys(range(10), 1.1),
        ("hard", "x"): dict.fromkeys(range(2), 5.1),
    }
    other = {
        ("easy", "x"): dict.fromkeys(range(2), 1.0),
        ("hard", "x"): dict.fromkeys(range(10), 5.0),
    }
    careless = [
        np.mean([v for s in figures.values() for v in s.values()]) for figures in (one, other)
    ]
    assert careless[0] < careless[1] - 2
    found = estimate(differences(one, other))
    assert found is not None
    assert found.mean == pytest.approx(0.1)
    assert win_rate(one, other) == 0.0


def test_every_stratum_weighs_the_same() -> None:
    found = estimate({("a", "x"): dict.fromkeys(range(10), 1.0), ("b", "x"): {0: -1.0, 1: -1.0}})
    assert found is not None
    assert (found.mean, found.low, found.high, found.count) == (0.0, 0.0, 0.0, 12)


def test_one_figure_says_nothing_of_chance() -> None:
    assert estimate({}) is None
    assert estimate({("a", "x"): {0: math.nan}}) is None
    assert math.isnan(win_rate({}, {}))
    alone = estimate({("a", "x"): {0: 1.0}, ("b", "x"): {0: 3.0}})
    assert alone is not None
    assert (alone.mean, alone.low, alone.high, alone.count) == (2.0, -math.inf, math.inf, 2)
    beside = estimate({("a", "x"): {0: 1.0}, ("b", "x"): {0: 3.0, 1: 4.0}})
    assert beside is not None
    assert (beside.mean, beside.count) == (3.5, 2)
    assert math.isfinite(beside.low)


def test_the_interval_of_one_stratum_is_near_students() -> None:
    values = np.random.default_rng(3).normal(size=12)
    found = estimate(_figures(values[None, None]))
    assert found is not None
    half = stats.t.ppf(0.975, 11) * values.std(ddof=1) / math.sqrt(12)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.06)


def test_many_seeds_are_drawn_in_blocks_with_the_same_result() -> None:
    values = np.random.default_rng(4).normal(size=3_000)
    found = estimate(_figures(values[None, None]))
    assert found is not None
    half = 1.96 * values.std() / math.sqrt(3_000)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.06)
    assert found == estimate(_figures(values[None, None]))


def test_figures_at_the_edge_of_floats_leave_the_interval_unbounded() -> None:
    huge = {("a", "x"): {0: 1.7e308, 1: 1.7e308}, ("b", "x"): {0: -1.7e308, 1: 1.7e308}}
    found = estimate(huge)
    assert found is not None
    assert (found.low, found.high, found.count) == (-math.inf, math.inf, 4)


# -- how often it errs ------------------------------------------------------------------------


def _experiment(random: np.random.Generator, effect: float) -> tuple[Figures, Figures]:
    """Subject and other on 5 tasks x 2 variations. Tasks differ by far more than arms, a seed's
    luck is shared by both arms, and what the other arm's runs have of their own is the same in both
    variations, as the plain arm's runs are where a variation concerns the mentor."""
    tasks = 100.0 * random.normal(size=(5, 1, 1)) + 10.0 * random.normal(size=(5, 2, 1))
    luck = 20.0 * random.normal(size=(5, 2, SEEDS))
    own = random.normal(size=(5, 2, SEEDS)) * np.array([0.5, 1.0, 1.0, 2.0, 3.0])[:, None, None]
    others = np.repeat(random.normal(size=(5, 1, SEEDS)), 2, axis=1)
    return _figures(tasks + luck + own + effect), _figures(tasks + luck + others)


@pytest.mark.slow
@pytest.mark.parametrize("effect", [0.0, -0.9])
def test_the_interval_of_pooled_pairs_holds_the_truth_in_95_of_100(effect: float) -> None:
    random = np.random.default_rng(11)
    missed = found = 0
    for _ in range(EXPERIMENTS):
        interval = estimate(differences(*_experiment(random, effect)))
        assert interval is not None
        missed += not interval.low <= effect <= interval.high
        found += interval.high < 0
    low, high = stats.binom.ppf([0.005, 0.995], EXPERIMENTS, 0.05)
    assert low <= missed <= high
    if effect:
        assert found > 0.9 * EXPERIMENTS  # unpaired, the luck alone is thirty times as large
    else:
        assert found < high


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "heavy"), [(SEEDS, False), (SEEDS, True), (5, False), (3, False)]
)
def test_the_interval_of_a_single_task_holds_the_truth(seeds: int, heavy: bool) -> None:
    """Where the plain percentile interval misses 10 times in 100 (10 seeds) and 17 (5 seeds)."""
    random = np.random.default_rng(12)
    draw = (lambda: random.standard_t(4, seeds)) if heavy else (lambda: random.normal(size=seeds))
    missed = 0
    for _ in range(EXPERIMENTS):
        interval = estimate(_figures(draw()[None, None]))
        assert interval is not None
        missed += not interval.low <= 0.0 <= interval.high
    low, high = stats.binom.ppf([0.005, 0.995], EXPERIMENTS, 0.05)
    assert low <= missed <= high


def test_variations_of_a_seed_are_no_independent_draws() -> None:
    """Four variations that all share the other arm's runs: the more of them, the narrower an
    interval that took them for independent would be, and the more often wrong."""
    random = np.random.default_rng(13)
    missed = 0
    for _ in range(EXPERIMENTS):
        shared = np.repeat(random.normal(size=(3, 1, SEEDS)), 4, axis=1)
        interval = estimate(_figures(random.normal(size=(3, 4, SEEDS)) - shared))
        assert interval is not None
        missed += not interval.low <= 0.0 <= interval.high
    low, high = stats.binom.ppf([0.005, 0.995], EXPERIMENTS, 0.05)
    assert low <= missed <= high


# -- rules that hold for all figures ----------------------------------------------------------

_VALUES = st.floats(-100, 100, allow_nan=False)
_STRATA = st.tuples(st.sampled_from("abc"), st.sampled_from("xy"))


def _tables(values: st.SearchStrategy[float]) -> st.SearchStrategy[Figures]:
    by_seed = st.dictionaries(st.integers(0, 7), values, max_size=6)
    return st.dictionaries(_STRATA, by_seed, max_size=5)


@given(_tables(_VALUES), _tables(_VALUES))
def test_swapping_the_arms_negates(one: Figures, other: Figures) -> None:
    there = estimate(differences(one, other))
    back = estimate(differences(other, one))
    if there is None or back is None:
        assert there is back
        return
    assert there.count == back.count
    for value, opposite in (
        (there.mean, back.mean),
        (there.low, back.high),
        (there.high, back.low),
    ):
        assert value == pytest.approx(-opposite, abs=1e-9)
    assert win_rate(one, other) == pytest.approx(1 - win_rate(other, one))


@given(_tables(_VALUES), _tables(_VALUES), st.dictionaries(_STRATA, _VALUES))
def test_what_both_arms_share_changes_nothing(
    one: Figures, other: Figures, shared: dict[tuple[str, str], float]
) -> None:
    before = estimate(differences(one, other))
    after = estimate(differences(_raised(one, shared), _raised(other, shared)))
    if before is None or after is None:
        assert before is after
        return
    assert after.mean == pytest.approx(before.mean, abs=1e-9)
    assert after.low == pytest.approx(before.low, abs=1e-9)
    assert after.high == pytest.approx(before.high, abs=1e-9)


def _raised(figures: Figures, by: dict[tuple[str, str], float]) -> Figures:
    return {
        stratum: {seed: value + by.get(stratum, 0.0) for seed, value in by_seed.items()}
        for stratum, by_seed in figures.items()
    }


@given(_tables(st.floats(width=64)), _tables(st.floats(width=64)))
def test_any_numbers_give_an_interval_around_its_mean(one: Figures, other: Figures) -> None:
    for figures in (one, differences(one, other)):
        found = estimate(figures)
        if found is not None:
            assert found.low < math.inf
            assert found.high > -math.inf
            assert found.low <= found.mean <= found.high or not math.isfinite(found.mean)
            assert found.count > 0
    assert not win_rate(one, other) > 1.0
