"""Means and paired differences with confidence intervals, pooled over strata. Pure functions.

A *stratum* is one task under one variation; it has one figure (a run's measured value) per seed.

**Estimand.** The mean over strata of each stratum's mean over seeds. Every stratum has the same
weight, however many of its runs have ended, so an incomplete stratum does not shift the estimate.
Strata with fewer than two figures contain no information on variance and are left out, unless all
strata have fewer than two.

**Interval.** A bootstrap stratified by task: within a task, seeds are resampled with replacement,
each with all its variations. A seed's variations share the split, the initial prompt and often
whole runs (those of the plain arm, if a variation concerns the mentor), so they are not
independent. Resampling them one by one would produce false positives, more of them with more
variations.

With about ten seeds, percentile intervals are too narrow, and so are BCa intervals, which correct
bias and skew only. Two corrections follow T. Hesterberg ("What Teachers Should Know About the
Bootstrap", The American Statistician 69, 2015): deviations are scaled by √(n/(n-1)), because the
variance of a resample has the divisor n; and the ends are stretched by the ratio of Student's t to
the normal quantile, with Satterthwaite's degrees of freedom, because the variance is estimated.
The resamples are the same in every call, so reports are reproducible.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

import numpy as np
from scipy import special

from mentorgrad.domain.experiment import Estimate

Stratum = tuple[str, str]
"""Names of the task and the variation."""

Figures = Mapping[Stratum, Mapping[int, float]]
"""Maps stratum to seed to figure. NaN or infinity: the run diverged."""

CONFIDENCE = 0.95
"""Confidence level of all intervals."""
RESAMPLES = 5_000
"""Bootstrap resamples; the Monte Carlo error of the ends is about 1% of the interval's width."""
_SEED = 20_240_607
_LARGE = 64
"""Maximum seeds of a task for which the resampling weights are cached."""
_BLOCK = 2**21
"""Maximum indices drawn at once."""


def estimate(figures: Figures) -> Estimate | None:
    """Pooled mean with its confidence interval.

    Returns:
        None without finite figures. With one figure per stratum the interval is unbounded, because
        the variance is unknown.
    """
    finite = {stratum: _finite(by_seed) for stratum, by_seed in figures.items()}
    kept = {stratum: by_seed for stratum, by_seed in finite.items() if len(by_seed) > 1}
    strata = kept or {stratum: by_seed for stratum, by_seed in finite.items() if by_seed}
    if not strata:
        return None
    count = sum(len(by_seed) for by_seed in strata.values())
    with np.errstate(all="ignore"):  # figures near the maximum float overflow
        means = {stratum: _mean(strata[stratum]) for stratum in sorted(strata)}
        mean = sum(means.values()) / len(means)
        below, above = _interval(strata, means) if kept else (-math.inf, math.inf)
    if not math.isfinite(mean + below + above):
        return Estimate(mean=mean, low=-math.inf, high=math.inf, count=count)
    return Estimate(mean=mean, low=mean + below, high=mean + above, count=count)


def differences(one: Figures, other: Figures) -> Figures:
    """`one` minus `other`, for pairs of finite figures of the same task, variation and seed."""
    found: dict[Stratum, dict[int, float]] = {}
    for stratum, by_seed in one.items():
        opposite = _finite(other.get(stratum, {}))
        pairs = {
            seed: value - opposite[seed]
            for seed, value in _finite(by_seed).items()
            if seed in opposite
        }
        if pairs:
            found[stratum] = pairs
    return found


def win_rate(one: Figures, other: Figures, lower_is_better: bool = True) -> float:
    """Share of the pairs in which `one` is better; ties count half.

    A diverged run loses to every run that did not diverge and ties with other diverged runs.

    Returns:
        NaN without pairs.
    """
    sign = 1.0 if lower_is_better else -1.0
    won = pairs = 0.0
    for stratum, by_seed in one.items():
        opposite = other.get(stratum, {})
        for seed in by_seed.keys() & opposite.keys():
            mine, theirs = _cost(sign * by_seed[seed]), _cost(sign * opposite[seed])
            won += 1.0 if mine < theirs else 0.5 if mine == theirs else 0.0
            pairs += 1.0
    return won / pairs if pairs else math.nan


def diverged(figures: Figures) -> int:
    """Number of figures that are NaN or infinite."""
    return sum(len(by_seed) - len(_finite(by_seed)) for by_seed in figures.values())


def _cost(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def _finite(by_seed: Mapping[int, float]) -> dict[int, float]:
    return {seed: float(value) for seed, value in by_seed.items() if math.isfinite(value)}


def _mean(by_seed: Mapping[int, float]) -> float:
    return float(np.mean(list(by_seed.values())))


def _interval(
    strata: Mapping[Stratum, Mapping[int, float]], means: Mapping[Stratum, float]
) -> tuple[float, float]:
    """Offsets of the interval's ends from the mean: one ≤ 0, one ≥ 0."""
    parts = _parts(strata, means)
    counts = np.array([len(part) for part in parts])
    # Of the estimate, due to each task's seeds; with one degree of freedom less than seeds.
    variances = np.array([float((part**2).sum()) for part in parts]) / (counts * (counts - 1))
    if not variances.sum() > 0:
        return 0.0, 0.0
    shares = variances / variances.sum()
    freedom = 1.0 / float((shares**2 / (counts - 1)).sum())
    moved = np.zeros(RESAMPLES)
    for position, (part, count) in enumerate(zip(parts, counts.tolist(), strict=True)):
        moved += math.sqrt(count / (count - 1)) * _resampled(position, part)
    outside = (1.0 - CONFIDENCE) / 2.0
    stretch = special.stdtrit(freedom, 1.0 - outside) / special.ndtri(1.0 - outside)
    low, high = np.quantile(moved, [outside, 1.0 - outside]) * stretch
    return min(float(low), 0.0), max(float(high), 0.0)


def _parts(
    strata: Mapping[Stratum, Mapping[int, float]], means: Mapping[Stratum, float]
) -> list[np.ndarray]:
    """Contributions by task: float64 [seeds], the change of the estimate with each seed's weight,
    which sums to 0; exact if a task's variations have the same seeds, else linearised."""
    by_task: dict[str, list[Stratum]] = {}
    for stratum in sorted(strata):  # the resamples must not depend on the order
        by_task.setdefault(stratum[0], []).append(stratum)
    parts = []
    for inside in by_task.values():
        seeds = sorted(set().union(*(strata[stratum] for stratum in inside)))
        place = {seed: index for index, seed in enumerate(seeds)}
        deviations = np.zeros(len(seeds))
        for stratum in inside:
            weight = len(seeds) / (len(strata[stratum]) * len(strata))
            for seed, value in strata[stratum].items():
                deviations[place[seed]] += weight * (value - means[stratum])
        parts.append(deviations)
    return parts


def _resampled(position: int, values: np.ndarray) -> np.ndarray:
    """Means of samples drawn with replacement: float64 [RESAMPLES]."""
    count = len(values)
    if count <= _LARGE:
        means: np.ndarray = _weights(position, count) @ values
        return means
    random = np.random.default_rng([_SEED, position, count])
    rows = max(1, _BLOCK // count)
    blocks = [
        values[random.integers(count, size=(min(rows, RESAMPLES - start), count))].mean(axis=1)
        for start in range(0, RESAMPLES, rows)
    ]
    return np.concatenate(blocks)


@functools.lru_cache(32)
def _weights(position: int, count: int) -> np.ndarray:
    """Weight of each of `count` values in each resample, float64 [RESAMPLES, count]."""
    random = np.random.default_rng([_SEED, position, count])
    drawn = random.multinomial(count, np.full(count, 1.0 / count), size=RESAMPLES)
    weights: np.ndarray = drawn / count
    return weights
