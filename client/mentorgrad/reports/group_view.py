"""The view of runs by groups: for each group the mean of its runs' curves, with its interval.

A curve is the loss of one run over its steps. Runs are compared at the steps at which all runs of
a group have a loss: from the latest first step to the earliest last one. There, a stepped curve
(the best loss so far) has its last value, and any other the value on the line between its
neighbouring points, since curves may be thinned at different steps.

The interval is Student's, mean ± t·s/√n over the n runs of a group at one step. It holds for each
step by itself, not for the whole curve at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_STEPS = 500
"""Steps of a group's curve."""

_T = (
    *(12.7062, 4.30265, 3.18245, 2.77645, 2.57058, 2.44691, 2.36462, 2.30600, 2.26216, 2.22814),
    *(2.20099, 2.17881, 2.16037, 2.14479, 2.13145, 2.11991, 2.10982, 2.10092, 2.09302, 2.08596),
)
"""The .975 quantile of Student's t by degrees of freedom, from 1."""
_Z = 1.959963985


@dataclass(frozen=True)
class RunCurve:
    """The losses of a run."""

    run_id: str
    """Id of the run."""
    group: str
    """Its value of the label; empty: it has none."""
    steps: tuple[int, ...]
    """Steps of the trajectory, ascending."""
    losses: tuple[float, ...]
    """One per step; those that are not finite do not count."""


@dataclass(frozen=True)
class GroupCurve:
    """The mean curve of a group. Its columns have one entry per step."""

    name: str
    """Value of the label; empty: the runs without the label."""
    runs: tuple[str, ...]
    """Ids of the runs in the mean."""
    missing: int
    """Runs of the group that are not in the mean, since they have no finite loss."""
    steps: tuple[int, ...]
    """Steps that all its runs have, ascending; empty: there is none."""
    means: tuple[float, ...]
    """Mean over the runs."""
    lows: tuple[float | None, ...]
    """Lower end of the 95% interval; None: of one run there is none."""
    highs: tuple[float | None, ...]
    """Upper end of the 95% interval."""


@dataclass(frozen=True)
class GroupsView:
    """Groups of runs, ready to be drawn."""

    label: str
    """Name of the label that they are grouped by."""
    groups: tuple[GroupCurve, ...]
    """By name; the runs without the label last."""


def groups_view(label: str, curves: Sequence[RunCurve], is_stepped: bool) -> GroupsView:
    """The view of curves by groups.

    Args:
        label: Name of the label.
        curves: One per run.
        is_stepped: Whether a loss holds until the next point, as the best so far does.
    """
    names = sorted({curve.group for curve in curves}, key=lambda name: (not name, name))
    return GroupsView(
        label=label,
        groups=tuple(
            _group(name, [curve for curve in curves if curve.group == name], is_stepped)
            for name in names
        ),
    )


def t_quantile(freedom: int) -> float:
    """The .975 quantile of Student's t, to 1e-4 of it.

    With more than 20 degrees of freedom by the expansion 26.7.5 of Abramowitz and Stegun,
    Handbook of Mathematical Functions, 1964.

    Args:
        freedom: Degrees of freedom, at least 1.
    """
    if freedom <= len(_T):
        return _T[freedom - 1]
    first = (_Z**3 + _Z) / 4
    second = (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / 96
    third = (3 * _Z**7 + 19 * _Z**5 + 17 * _Z**3 - 15 * _Z) / 384
    return _Z + first / freedom + second / freedom**2 + third / freedom**3


def _group(name: str, curves: Sequence[RunCurve], is_stepped: bool) -> GroupCurve:
    known = [(curve.run_id, *_finite(curve)) for curve in curves]
    kept = [item for item in known if len(item[1])]
    steps = _common([steps for _, steps, _ in kept])
    losses = np.array([_at(steps, own, values, is_stepped) for _, own, values in kept])
    means, half = _means(losses) if len(steps) else (np.zeros(0), None)
    return GroupCurve(
        name=name,
        runs=tuple(run_id for run_id, _, _ in kept),
        missing=len(known) - len(kept),
        steps=tuple(steps.tolist()),
        means=tuple(means.tolist()),
        lows=_ends(means, None if half is None else -half),
        highs=_ends(means, half),
    )


def _finite(curve: RunCurve) -> tuple[np.ndarray, np.ndarray]:
    """The steps, int64 [n], and losses, float64 [n], that are finite."""
    losses = np.array(curve.losses, np.float64)
    is_finite = np.isfinite(losses)
    return np.array(curve.steps, np.int64)[is_finite], losses[is_finite]


def _common(steps: Sequence[np.ndarray]) -> np.ndarray:
    """The steps that any curve has and all reach, evenly thinned: int64 [at most MOST_STEPS]."""
    if not steps:
        return np.zeros(0, np.int64)
    first, last = max(own[0] for own in steps), min(own[-1] for own in steps)
    found: np.ndarray = np.unique(np.concatenate(steps))
    found = found[(found >= first) & (found <= last)]
    if len(found) > MOST_STEPS:
        found = found[np.linspace(0, len(found) - 1, MOST_STEPS).round().astype(int)]
    return found


def _at(steps: np.ndarray, own: np.ndarray, losses: np.ndarray, is_stepped: bool) -> np.ndarray:
    """The losses of a curve at steps within it."""
    found: np.ndarray = (
        losses[np.searchsorted(own, steps, side="right") - 1]
        if is_stepped
        else 2 * np.interp(steps, own, losses / 2)  # no difference of two losses overflows
    )
    return found


def _means(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Means and half widths of the intervals of losses [runs, steps]; no widths of one run."""
    count = len(losses)
    with np.errstate(all="ignore"):  # losses near the maximum float overflow
        means = (losses / count).sum(axis=0)
        means = np.clip(means, losses.min(axis=0), losses.max(axis=0))  # rounding
        if count == 1:
            return means, None
        return means, t_quantile(count - 1) * losses.std(axis=0, ddof=1) / math.sqrt(count)


def _ends(means: np.ndarray, offset: np.ndarray | None) -> tuple[float | None, ...]:
    if offset is None:
        return (None,) * len(means)
    with np.errstate(all="ignore"):
        found = (means + offset).tolist()
    return tuple(end if math.isfinite(end) else None for end in found)
