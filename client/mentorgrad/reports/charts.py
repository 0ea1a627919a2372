"""The plots of a report as inline SVG.

matplotlib is imported when a plot is drawn. The same report always gives the same bytes.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mentorgrad.domain.experiment import Comparison, Report
from mentorgrad.errors import Unsupported
from mentorgrad.installed import pip_line
from mentorgrad.outside_text import one_line
from mentorgrad.reports.tables import (
    FIGURE_TITLES,
    is_without_gradient,
    primary,
    reading,
    selected,
)

BETTER, WORSE, UNCLEAR = "#0072b2", "#d55e00", "#767676"
"""Distinguishable for colour-blind readers and in greyscale."""
_COLOURS = {"better": BETTER, "worse": WORSE, "not shown": UNCLEAR}
_INK = "#1d2430"

MOST_ROWS = 90
"""Maximum rows of a forest plot; beyond it, only the pooled rows are drawn."""
MOST_TASKS = 12
"""Maximum panels of the plot by task."""
MOST_DOTS = 200
"""Maximum dots per arm and panel; beyond it, evenly spaced runs are drawn."""
MOST_LETTERS = 32
"""Maximum length of a label."""

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mentorgrad",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#8a93a1",
    "xtick.color": "#4a5361",
    "ytick.color": _INK,
}


def forest(report: Report) -> str:
    """Pooled and per-task differences of the primary figure, per arm, with their intervals.

    Returns:
        An SVG element; empty if there is no comparison.

    Raises:
        Unsupported: matplotlib is not installed.
    """
    rows = _forest_rows(report)
    if not rows:
        return ""
    title = FIGURE_TITLES[primary(report)]
    with _canvas(1, (8.2, 1.15 + 0.27 * len(rows))) as (figure, panels):
        axes = panels[0]
        place = 0.0
        places = []
        for number, (_, item) in enumerate(rows):
            is_pooled = not item.task
            place += 0.45 if is_pooled and number else 0.0
            _draw_interval(axes, place, item, is_pooled)
            places.append(place)
            place += 1.0
        axes.axvline(0.0, color=_INK, linewidth=1.0, zorder=1)
        axes.set_yticks(places)
        axes.set_yticklabels([_label(label) for label, _ in rows], parse_math=False)
        for tick, (_, item) in zip(axes.get_yticklabels(), rows, strict=True):
            tick.set_fontweight("bold" if not item.task else "normal")
            tick.set_color(_INK if not item.task else "#4a5361")
        axes.set_ylim(place - 0.3, -0.9)
        axes.tick_params(axis="y", length=0)
        low, high = _range([item for _, item in rows])
        axes.set_xlim(low, high)
        axes.set_xlabel(f"difference of {title}")
        axes.set_title(
            f"← {_label(report.subject)} better", fontsize=9.5, loc="left", parse_math=False
        )
        axes.set_title("other arm better →", fontsize=9.5, loc="right")
        return _svg(figure, "forest", f"Differences of {title} with their intervals")


def strips(report: Report) -> str:
    """The primary figure of every run, by task and arm, with the means of the arms.

    Returns:
        An SVG element; empty if no run has the figure.

    Raises:
        Unsupported: matplotlib is not installed.
    """
    losses = _losses(report)
    tasks = list(dict.fromkeys(task for task, _ in losses))[:MOST_TASKS]
    arms = [item.arm for item in report.arms if any(arm == item.arm for _, arm in losses)]
    if not tasks or not arms:
        return ""
    rows = math.ceil(len(tasks) / 2)
    size = (8.2, rows * (0.85 + 0.26 * len(arms)))
    with _canvas(len(tasks), size) as (figure, panels):
        for number, task in enumerate(tasks):
            axes = panels[number]
            for place, arm in enumerate(arms):
                _draw_strip(axes, place, losses.get((task, arm), []), arm == report.subject)
            axes.set_title(
                _label(task), fontsize=10, loc="left", fontweight="bold", parse_math=False
            )
            axes.set_yticks(range(len(arms)))
            labels = [_label(arm) if number % 2 == 0 else "" for arm in arms]
            axes.set_yticklabels(labels, parse_math=False)
            axes.set_ylim(len(arms) - 0.5, -0.5)
            axes.tick_params(axis="y", length=0)
            if number >= len(tasks) - 2:
                axes.set_xlabel(FIGURE_TITLES[primary(report)])
        return _svg(figure, "strips", f"{FIGURE_TITLES[primary(report)]} of every run")


# -- what is drawn ----------------------------------------------------------------------------


def _forest_rows(report: Report) -> list[tuple[str, Comparison]]:
    """Labels and comparisons: for each arm the pooled one, then those of the tasks.

    Arms without gradient steps are only in the tables: their differences are so large that the
    others could not be distinguished in the plot.
    """
    alone = {arm.arm for arm in report.arms if is_without_gradient(arm)} - {report.subject}
    pooled, by_task = (
        [item for item in selected(report, primary(report), level) if item.other not in alone]
        for level in ("pooled", "task")
    )
    if len({item.task for item in by_task}) < 2 or len(pooled) + len(by_task) > MOST_ROWS:
        by_task = []
    rows = []
    for item in pooled:
        rows.append((f"vs. {item.other}", item))
        rows += [(inner.task, inner) for inner in by_task if inner.other == item.other]
    return rows


def _draw_interval(axes: Any, place: float, item: Comparison, is_pooled: bool) -> None:
    found = item.difference
    colour = _COLOURS[reading(item)]
    if not math.isfinite(found.mean):
        return
    if math.isfinite(found.low) and math.isfinite(found.high):
        width = 2.6 if is_pooled else 1.3
        axes.plot(
            [found.low, found.high],
            [place, place],
            color=colour,
            linewidth=width,
            marker="|" if is_pooled else None,
            markersize=10,
            markeredgewidth=2,
            solid_capstyle="butt",
            alpha=1.0 if is_pooled else 0.8,
            zorder=2,
        )
    axes.plot(
        [found.mean],
        [place],
        marker="d" if is_pooled else "o",
        markersize=8.5 if is_pooled else 4.5,
        color=colour,
        markerfacecolor=colour if math.isfinite(found.low) else "white",
        markeredgecolor="white" if is_pooled and math.isfinite(found.low) else colour,
        zorder=3,
    )


def _range(items: Sequence[Comparison]) -> tuple[float, float]:
    """Limits of the axis: zero and all finite values, with a margin."""
    ends = [end for item in items for end in (item.difference.low, item.difference.high)]
    ends += [item.difference.mean for item in items]
    finite = [0.0, *(end for end in ends if math.isfinite(end))]
    room = 0.06 * (max(finite) - min(finite)) or 0.01
    return min(finite) - room, max(finite) + room


def _losses(report: Report) -> dict[tuple[str, str], list[float]]:
    """Maps (task, arm) to the finite primary figures of its runs."""
    found: dict[tuple[str, str], list[float]] = {}
    name = primary(report).value
    for cell in report.cells:
        value = getattr(cell, name)
        if value is not None and math.isfinite(value):
            found.setdefault((cell.task, cell.arm), []).append(value)
    return found


def _draw_strip(axes: Any, place: int, losses: Sequence[float], is_subject: bool) -> None:
    """Draws one dot per run, with jitter to separate equal values, and a bar at the mean."""
    if not losses:
        return
    colour = BETTER if is_subject else UNCLEAR
    drawn = np.array(losses)[:: math.ceil(len(losses) / MOST_DOTS)]
    spread = place + 0.26 * ((np.arange(len(drawn)) * 0.618) % 1.0 - 0.5)
    axes.scatter(drawn, spread, s=14, color=colour, alpha=0.45, linewidths=0, zorder=2)
    mean = float(np.mean(losses))
    axes.plot([mean, mean], [place - 0.34, place + 0.34], color=colour, linewidth=2.4, zorder=3)


def _label(text: str) -> str:
    """A truncated label without characters that XML does not allow."""
    clean = one_line(text)
    return clean if len(clean) <= MOST_LETTERS else f"{clean[: MOST_LETTERS - 1]}…"


# -- SVG --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _canvas(count: int, size: tuple[float, float]) -> Iterator[tuple[Any, list[Any]]]:
    """A figure and its panels, two per row, without pyplot's global state."""
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        raise Unsupported(
            f"plots need matplotlib; run: {pip_line('plot')}", reason="MISSING_EXTRA"
        ) from None
    with warnings.catch_warnings(), rc_context(_STYLE):
        # labels may have letters that matplotlib's font lacks; the browser has other fonts
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        columns = min(2, count)
        panels = list(figure.subplots(math.ceil(count / columns), columns, squeeze=False).ravel())
        for axes in panels:
            axes.grid(visible=True, axis="x", linewidth=0.5, color="#e3e6ea")
            axes.set_axisbelow(True)
            axes.spines[["top", "right", "left"]].set_visible(False)
        for axes in panels[count:]:
            axes.set_visible(False)
        yield figure, panels


def _svg(figure: Any, name: str, label: str) -> str:
    """The figure as an SVG element with unique ids, so that a page can contain several."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r'(<\w+ id=")', rf"\1{name}-", text)
    text = re.sub(r'((?:xlink:)?href="#|url\(#)', rf"\1{name}-", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" class="{name}" ', 1)
