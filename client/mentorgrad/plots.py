"""Plots of runs: loss curves with the restarts marked, and the path of the parameters.

matplotlib is imported when a plot is drawn; plots are written to files only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from mentorgrad import parameter_paths
from mentorgrad.domain.event import (
    CandidatesScored,
    EventKind,
    RestartDecided,
    Segment,
)
from mentorgrad.domain.fold import fold_figures
from mentorgrad.domain.query import EventQuery, RunReader
from mentorgrad.domain.run import Run, Trajectory
from mentorgrad.errors import InvalidInput, PreconditionFailed, Unsupported
from mentorgrad.installed import pip_line
from mentorgrad.outside_text import one_line
from mentorgrad.parameter_paths import principal_components

__all__ = [
    "Curve",
    "Kind",
    "Panel",
    "curve",
    "final_losses",
    "loss_curves",
    "parameter_path",
    "principal_components",
]

_COLOURS = ("#0072b2", "#d55e00", "#7f7f7f", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Palette that is also distinct for colour-blind readers (Okabe and Ito)."""

_SMOOTHING = 0.15
"""Weight of the current step in the smoothed train loss."""


class Kind(StrEnum):
    """Kind of plot."""

    LOSS = "loss"
    PATH = "path"


@dataclass(frozen=True)
class Curve:
    """The losses of one run over the gradient steps spent, including races."""

    label: str
    """Label in the legend."""
    steps: np.ndarray
    """float [n]: gradient steps spent at each snapshot; NaN at a restart decision."""
    train_loss: np.ndarray
    """float [n]: train loss of each snapshot; NaN at a restart decision."""
    best_steps: np.ndarray
    """float [m]: gradient steps spent each time candidates were scored."""
    best_loss: np.ndarray
    """float [m]: lowest selection loss up to that point."""
    restarts: tuple[int, ...]
    """Gradient steps spent at each restart from a proposal."""


@dataclass(frozen=True)
class Panel:
    """Test losses that can be compared with each other."""

    title: str
    """Title of the panel."""
    losses: Mapping[str, float]
    """Name of each run → its test loss."""
    lines: Mapping[str, float]
    """Name of each baseline → its test loss, drawn as a line."""


def curve(source: RunReader, run_id: str, label: str = "") -> Curve:
    """Reads the curve of a run.

    Args:
        source: A client or a store.
        run_id: Id of the run.
        label: Label in the legend; empty: the run's name, or its mentor.

    Raises:
        NotFound: The run does not exist.
    """
    spec = source.get_run(run_id).spec
    kinds = (EventKind.SEGMENT, EventKind.CANDIDATES_SCORED, EventKind.RESTART_DECIDED)
    steps: list[float] = []
    losses: list[float] = []
    best: list[tuple[int, float | None]] = []
    restarts: list[int] = []
    probed, run = 0, Run()
    for event in source.events(run_id, EventQuery(kinds=kinds, effective=True)):
        payload, run = event.payload, fold_figures(run, event)
        if isinstance(payload, Segment):
            steps += [snapshot.step + probed for snapshot in payload.snapshots]
            losses += [snapshot.train_loss for snapshot in payload.snapshots]
        elif isinstance(payload, CandidatesScored):
            best.append((run.usage.gradient_steps, run.best_selection_loss))
        elif isinstance(payload, RestartDecided):
            probed = payload.usage.probe_steps + payload.usage.hint_steps
            steps.append(np.nan)
            losses.append(np.nan)
            if payload.restarted:
                restarts.append(payload.usage.gradient_steps)
    return Curve(
        label=label or spec.name or spec.mentor.name,
        steps=np.array(steps, dtype=float),
        train_loss=np.array(losses, dtype=float),
        best_steps=np.array([step for step, _ in best], dtype=float),
        best_loss=np.array([loss for _, loss in best], dtype=float),
        restarts=tuple(restarts),
    )


def loss_curves(curves: Sequence[Curve], path: Path, title: str = "") -> Path:
    """Plots the train loss and best selection loss of runs, with the restarts marked.

    Args:
        curves: One curve per run.
        path: Output file; its suffix selects the format.
        title: Title above both panels; empty: a default title.

    Returns:
        `path`.

    Raises:
        InvalidInput: The suffix is of no format that matplotlib writes.
        Unsupported: matplotlib is not installed.
        PreconditionFailed: No step has been recorded yet.
    """
    if not any(len(item.steps) for item in curves):
        raise PreconditionFailed("nothing to plot yet: no step is recorded")
    curves = [_drawable(item) for item in curves]
    figure, (left, right) = _figure(1, 2, (11.0, 4.4))
    for number, item in enumerate(curves):
        colour = _COLOURS[number % len(_COLOURS)]
        left.plot(item.steps, item.train_loss, color=colour, alpha=0.18, linewidth=0.8)
        left.plot(
            item.steps, _smooth(item.train_loss), color=colour, linewidth=1.8, label=item.label
        )
        right.step(
            item.best_steps,
            item.best_loss,
            where="post",
            color=colour,
            linewidth=1.8,
            marker=".",
            markersize=5,
            label=item.label,
        )
        _mark_restarts((left, right), item, colour, number)
    left.set_title("Train loss (smoothed)", fontsize=11)
    right.set_title(f"Best selection loss so far{_look_closer(right, curves)}", fontsize=11)
    if _spans_decades(curves):
        left.set_yscale("log")
    for axes in (left, right):
        axes.set_xlabel("gradient steps spent, races included")
        axes.set_ylabel("loss")
    if any(item.restarts for item in curves):
        right.plot([], [], "v", color="#444444", markersize=7, label="restart from a proposal")
    right.legend(frameon=False, fontsize=9)
    figure.suptitle(_verbatim(title) or "Loss curves of runs", fontsize=12, fontweight="bold")
    return _save(figure, path)


def final_losses(panels: Sequence[Panel], path: Path, title: str = "") -> Path:
    """Plots the test losses of runs beside those of baselines; what is not finite is left out.

    Args:
        panels: One panel per comparison.
        path: Output file; its suffix selects the format.
        title: Title above the panels.

    Returns:
        `path`.

    Raises:
        InvalidInput: The suffix is of no format that matplotlib writes.
        Unsupported: matplotlib is not installed.
    """
    figure, axes_of = _figure(1, len(panels), (1.0 + 4.4 * len(panels), 3.0))
    for axes, panel in zip(np.atleast_1d(axes_of), panels, strict=True):
        for place, loss in enumerate(panel.losses.values()):
            colour = _COLOURS[place % len(_COLOURS)]
            if np.isfinite(loss):
                axes.plot([loss], [place], "o", color=colour, markersize=8, zorder=3)
                axes.annotate(f"{loss:.3f}", (loss, place), (0, 7), textcoords="offset points")
        for style, (name, loss) in zip(itertools.cycle(("--", ":")), panel.lines.items()):
            if np.isfinite(loss):
                label = f"{_verbatim(name)} {loss:.3f}"
                axes.axvline(loss, color="#444444", linestyle=style, label=label)
        axes.set_yticks(range(len(panel.losses)), [*map(_verbatim, panel.losses)])
        axes.set_ylim(len(panel.losses) - 0.4, -0.7)
        axes.margins(x=0.18)
        axes.set_title(_verbatim(panel.title), fontsize=11)
        axes.set_xlabel("test loss")
        axes.legend(
            frameon=False, fontsize=9, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2)
        )
    figure.suptitle(_verbatim(title) or "Test losses of runs", fontsize=12, fontweight="bold")
    return _save(figure, path)


def _drawable(item: Curve) -> Curve:
    """The curve with gaps where a loss is infinite, which no axis can show, and a label that the
    legend shows as it is."""
    train, best = (
        np.where(np.isfinite(losses), losses, np.nan)
        for losses in (item.train_loss, item.best_loss)
    )
    return replace(item, label=_verbatim(item.label), train_loss=train, best_loss=best)


def _verbatim(text: str) -> str:
    """A name or title that is drawn as it is: dollars would enclose a formula, and a label with an
    underscore in front would be hidden."""
    text = one_line(text).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _spans_decades(curves: Sequence[Curve]) -> bool:
    """Whether the train losses span more than one decade, so that a log scale is needed."""
    losses = np.concatenate([_smooth(item.train_loss) for item in curves])
    losses = losses[~np.isnan(losses)]
    return bool(len(losses) and losses.min() > 0 and losses.max() > 10 * losses.min())


def _look_closer(axes: Any, curves: Sequence[Curve]) -> str:
    """Excludes the untrained start from the axis if it would compress all later values.

    Returns:
        A note for the panel's title; empty if nothing is excluded.
    """
    known = [item.best_loss[~np.isnan(item.best_loss)] for item in curves]
    later = [losses[1:] for losses in known if len(losses) > 2]
    if not later:
        return ""
    lowest, highest = (float(edge(np.concatenate(later))) for edge in (np.min, np.max))
    start = max(float(losses[0]) for losses in known if len(losses))
    span = highest - lowest
    if span <= 0 or start - highest < 2 * span:
        return ""
    axes.set_ylim(lowest - 0.1 * span, highest + 0.45 * span)
    return f" (from {start:.2f} at the start)"


def _mark_restarts(panels: Iterable[Any], item: Curve, colour: str, number: int) -> None:
    """Marks each restart with a triangle at the top of each panel, one row per run."""
    for axes in panels:
        for step in item.restarts:
            axes.axvline(step, color=colour, linewidth=0.8, linestyle=":", alpha=0.7)
            axes.plot(
                [step],
                [0.97 - 0.05 * number],
                marker="v",
                color=colour,
                markersize=7,
                transform=axes.get_xaxis_transform(),
                clip_on=False,
                zorder=5,
            )


def parameter_path(trajectory: Trajectory, path: Path, title: str = "") -> Path:
    """Plots the path of a run's parameters in their first two principal components.

    Args:
        trajectory: Trajectory with raw parameters.
        path: Output file; its suffix selects the format.
        title: Title of the plot; empty: a default title.

    Returns:
        `path`.

    Raises:
        InvalidInput: The suffix is of no format that matplotlib writes.
        Unsupported: matplotlib is not installed.
        PreconditionFailed: There are no raw parameters, or fewer than two snapshots whose
            parameters are finite; others are left out.
    """
    found = parameter_paths.parameter_path(trajectory)
    points, shares = found.points, found.shares
    figure, axes = _figure(1, 1, (7.0, 5.4))
    of_point = np.array(trajectory.stages)[found.kept]
    stages = sorted(set(of_point.tolist()))
    colours = _stage_colours(len(stages))
    for stage, colour in zip(stages, colours, strict=True):
        inside = points[of_point == stage]
        axes.plot(inside[:, 0], inside[:, 1], "-", color=colour, linewidth=1.4, alpha=0.8)
        axes.scatter(
            inside[:, 0], inside[:, 1], s=12, color=colour, label=f"stage {stage + 1}", zorder=3
        )
        axes.plot(*inside[0], "o", color=colour, markersize=9, markeredgecolor="black", zorder=4)
    for before, after in itertools.pairwise(stages):
        jump = np.stack([points[of_point == before][-1], points[of_point == after][0]])
        axes.plot(jump[:, 0], jump[:, 1], ":", color="#888888", linewidth=1.2, zorder=1)
    axes.plot(*points[-1], "X", color=colours[-1], markersize=11, markeredgecolor="black", zorder=4)
    axes.plot([], [], "o", color="white", markeredgecolor="black", label="start of a stage")
    axes.plot([], [], "X", color="white", markeredgecolor="black", label="end of the run")
    axes.set_xlabel(f"first principal component ({shares[0]:.0%} of the variance)")
    axes.set_ylabel(f"second principal component ({shares[1]:.0%} of the variance)")
    title = title or f"Path of the parameters of {trajectory.run_id}"
    axes.set_title(_verbatim(title), fontsize=12)
    axes.legend(frameon=False, fontsize=9)
    return _save(figure, path)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Exponentially weighted mean that restarts after a NaN."""
    smooth = np.full(len(values), np.nan)
    mean = np.nan
    for index, value in enumerate(values):
        if np.isnan(value):
            mean = np.nan
            continue
        mean = value if np.isnan(mean) else mean + _SMOOTHING * (value - mean)
        smooth[index] = mean
    return smooth


def _stage_colours(count: int) -> list[Any]:
    from matplotlib import colormaps

    scale = colormaps["viridis"]
    return [scale(0.9 * index / max(count - 1, 1)) for index in range(count)]


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """Creates a figure without pyplot, so that no global state changes.

    Raises:
        Unsupported: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise Unsupported(
            f"plots require matplotlib; run: {pip_line('plot')}", reason="MISSING_EXTRA"
        ) from None
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns)
    for axes in np.ravel(np.array(panels, dtype=object)):
        axes.grid(visible=True, linewidth=0.4, alpha=0.4)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _save(figure: Any, path: Path) -> Path:
    known = sorted(figure.canvas.get_supported_filetypes())
    if path.suffix[1:].lower() not in known:
        raise InvalidInput(f"{path}: the name of a plot ends in .{', .'.join(known)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    return path
