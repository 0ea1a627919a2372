"""The view of a run's path: its points with loss and words, ready to be drawn."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from mentorgrad.domain.run import Trajectory
from mentorgrad.errors import PreconditionFailed
from mentorgrad.parameter_paths import parameter_path

_DIGITS = 6
"""Digits of a coordinate after the first one of the largest: more than a screen has points."""
_DECADE = 10.0


@dataclass(frozen=True)
class PathPoint:
    """A snapshot of the path."""

    step: int
    """Its step."""
    stage: int
    """Its stage, from 0."""
    x: float
    """Coordinate in the first direction."""
    y: float
    """Coordinate in the second direction."""
    loss: float | None
    """Train loss; None if it is not finite."""
    shade: float | None
    """Place of the loss between the lowest, 0, and the highest, 1, of the path; None without a
    loss."""
    words: str
    """Nearest words; empty if they were not captured."""
    is_restart: bool
    """Whether it is the first of a stage that went on from a proposal: the path jumps here."""


@dataclass(frozen=True)
class PathView:
    """A path, ready to be drawn."""

    points: tuple[PathPoint, ...]
    """In order of step. Empty: nothing can be drawn."""
    shares: tuple[float, float]
    """Share of the variance in each direction."""
    is_log: bool
    """Whether the shades follow the logarithm of the loss."""
    lowest: float | None
    """Lowest loss of the path; None without any."""
    highest: float | None
    """Highest loss of the path; None without any."""
    note: str
    """How many snapshots there are and what is left out, or why nothing can be drawn."""


def path_view(trajectory: Trajectory, restarted: Collection[int] = (), note: str = "") -> PathView:
    """The view of a trajectory with raw parameters.

    Args:
        trajectory: The trajectory.
        restarted: Stages that went on from a proposal.
        note: How many of the run's snapshots it has, and why; empty: all.
    """
    try:
        path = parameter_path(trajectory)
    except PreconditionFailed as error:
        return PathView((), (0.0, 0.0), False, None, None, error.message)
    snapshots = [trajectory.snapshots[at] for at in path.kept]
    stages = [trajectory.stages[at] for at in path.kept]
    losses = [item.train_loss for item in snapshots]
    finite = [loss for loss in losses if math.isfinite(loss)]
    is_log = bool(finite) and min(finite) > 0 and max(finite) > _DECADE * min(finite)
    left_out = len(trajectory.snapshots) - len(snapshots)
    said = f"{left_out} of them left out, with parameters that are not finite" if left_out else ""
    return PathView(
        points=tuple(
            PathPoint(
                step=item.step,
                stage=stage,
                x=x,
                y=y,
                loss=item.train_loss if math.isfinite(item.train_loss) else None,
                shade=shade,
                words=item.text,
                is_restart=stage != before and stage in restarted,
            )
            for item, before, stage, (x, y), shade in zip(
                snapshots,
                [None, *stages[:-1]],
                stages,
                _rounded(path.points),
                _shades(losses, is_log),
                strict=True,
            )
        ),
        shares=(float(path.shares[0]), float(path.shares[1])),
        is_log=is_log,
        lowest=min(finite, default=None),
        highest=max(finite, default=None),
        note="; ".join(filter(None, (note or f"{len(trajectory.snapshots)} snapshots", said))),
    )


def _shades(losses: Sequence[float], is_log: bool) -> list[float | None]:
    heights = [math.log(loss) if is_log and loss > 0 else loss for loss in losses]
    finite = [height for height in heights if math.isfinite(height)]
    low, span = min(finite, default=0.0), max(finite, default=0.0) - min(finite, default=0.0)
    return [
        None if not math.isfinite(height) else (height - low) / span if span > 0 else 0.0
        for height in heights
    ]


def _rounded(points: np.ndarray) -> list[tuple[float, float]]:
    """The coordinates without digits that nobody sees; in a direction in which nothing moved, they
    are errors of rounding alone, which a chart would enlarge."""
    extent = float(np.abs(points).max())
    digits = _DIGITS - math.floor(math.log10(extent)) if 0 < extent < math.inf else 0
    return [(round(float(x), digits) + 0.0, round(float(y), digits) + 0.0) for x, y in points]
