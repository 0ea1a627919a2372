"""The mean of figures that may be any floats."""

from __future__ import annotations

from collections.abc import Iterable
from math import fsum, isfinite
from statistics import fmean


def mean(figures: Iterable[float]) -> float:
    """The arithmetic mean. Unlike `statistics.fmean`, it is never beyond the figures by a rounding
    error, and has an answer for figures near the maximum float, whose sum is none, and for
    infinities of both signs: NaN.

    Raises:
        StatisticsError: There are no figures.
    """
    values = list(figures)
    infinite = sum(value for value in values if not isfinite(value))
    if infinite:  # NaN included
        return infinite
    try:
        found = fmean(values)
    except OverflowError:
        found = 2.0 * fsum(value / (2 * len(values)) for value in values)
    return min(max(found, min(values)), max(values))  # rounding can lead beyond them
