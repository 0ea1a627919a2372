"""The mean of figures that may be any floats."""

from __future__ import annotations

from collections.abc import Iterable
from math import fsum, isfinite
from statistics import fmean


def mean(figures: Iterable[float]) -> float:
    """The arithmetic mean. Unlike `statistics.fmean`, it has an answer for figures near the maximum
    float, whose sum is none, and for infinities of both signs: NaN.

    Raises:
        StatisticsError: There are no figures.
    """
    values = list(figures)
    infinite = sum(value for value in values if not isfinite(value))
    if infinite:  # NaN included
        return infinite
    try:
        return fmean(values)
    except OverflowError:
        scaled = 2.0 * fsum(value / (2 * len(values)) for value in values)
        return min(max(scaled, min(values)), max(values))  # it may be rounded up to infinity
