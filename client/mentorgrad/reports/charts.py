"""The plots of a report as inline SVG.

matplotlib is imported when a plot is drawn. The same report always gives the same bytes.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import warnings
from collections.abc import Iterator
from typing import Any

from mentorgrad.errors import Unsupported
from mentorgrad.installed import pip_line
from mentorgrad.outside_text import one_line
from mentorgrad.reports.chart_views import ForestChart, ForestRow, Strip, StripChart

BETTER, WORSE, UNCLEAR = "#0072b2", "#d55e00", "#767676"
"""Distinguishable for colour-blind readers and in greyscale."""
_COLOURS = {"better": BETTER, "worse": WORSE, "not shown": UNCLEAR}
_INK = "#1d2430"

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


def forest(chart: ForestChart | None) -> str:
    """Draws the differences of the subject to the other arms.

    Returns:
        An SVG element; empty without a chart.

    Raises:
        Unsupported: matplotlib is not installed.
    """
    if chart is None:
        return ""
    rows = chart.rows
    with _canvas(1, (8.2, 1.15 + 0.27 * len(rows))) as (figure, panels):
        axes = panels[0]
        place = 0.0
        places = []
        for number, row in enumerate(rows):
            place += 0.45 if row.is_pooled and number else 0.0
            _draw_interval(axes, place, row)
            places.append(place)
            place += 1.0
        axes.axvline(0.0, color=_INK, linewidth=1.0, zorder=1)
        axes.set_yticks(places)
        axes.set_yticklabels([_label(row.label) for row in rows], parse_math=False)
        for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
            tick.set_fontweight("bold" if row.is_pooled else "normal")
            tick.set_color(_INK if row.is_pooled else "#4a5361")
        axes.set_ylim(place - 0.3, -0.9)
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(chart.low, chart.high)
        axes.set_xlabel(f"difference of {chart.figure}")
        axes.set_title(
            f"← {_label(chart.subject)} better", fontsize=9.5, loc="left", parse_math=False
        )
        axes.set_title("other arm better →", fontsize=9.5, loc="right")
        return _svg(figure, "forest", f"Differences of {chart.figure} with their intervals")


def strips(chart: StripChart | None) -> str:
    """Draws the figure of every run, by task and arm, with the means of the arms.

    Returns:
        An SVG element; empty without a chart.

    Raises:
        Unsupported: matplotlib is not installed.
    """
    if chart is None:
        return ""
    count = len(chart.panels[0].strips)
    size = (8.2, math.ceil(len(chart.panels) / 2) * (0.85 + 0.26 * count))
    with _canvas(len(chart.panels), size) as (figure, panels):
        for number, panel in enumerate(chart.panels):
            axes = panels[number]
            for place, strip in enumerate(panel.strips):
                _draw_strip(axes, place, strip)
            axes.set_title(
                _label(panel.task), fontsize=10, loc="left", fontweight="bold", parse_math=False
            )
            axes.set_yticks(range(count))
            labels = [_label(strip.arm) if number % 2 == 0 else "" for strip in panel.strips]
            axes.set_yticklabels(labels, parse_math=False)
            axes.set_ylim(count - 0.5, -0.5)
            axes.tick_params(axis="y", length=0)
            if number >= len(chart.panels) - 2:
                axes.set_xlabel(chart.figure)
        return _svg(figure, "strips", f"{chart.figure} of every run")


def _draw_interval(axes: Any, place: float, row: ForestRow) -> None:
    colour = _COLOURS[row.reading]
    if row.mean is None:
        return
    if row.low is not None and row.high is not None:
        width = 2.6 if row.is_pooled else 1.3
        axes.plot(
            [row.low, row.high],
            [place, place],
            color=colour,
            linewidth=width,
            marker="|" if row.is_pooled else None,
            markersize=10,
            markeredgewidth=2,
            solid_capstyle="butt",
            alpha=1.0 if row.is_pooled else 0.8,
            zorder=2,
        )
    is_known = row.low is not None
    axes.plot(
        [row.mean],
        [place],
        marker="d" if row.is_pooled else "o",
        markersize=8.5 if row.is_pooled else 4.5,
        color=colour,
        markerfacecolor=colour if is_known else "white",
        markeredgecolor="white" if row.is_pooled and is_known else colour,
        zorder=3,
    )


def _draw_strip(axes: Any, place: int, strip: Strip) -> None:
    """Draws one dot per run and a bar at the mean."""
    if strip.mean is None:
        return
    colour = BETTER if strip.is_subject else UNCLEAR
    values, heights = [dot.value for dot in strip.dots], [place + dot.lift for dot in strip.dots]
    axes.scatter(values, heights, s=14, color=colour, alpha=0.45, linewidths=0, zorder=2)
    mean = strip.mean
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
