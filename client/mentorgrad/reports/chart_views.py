"""The charts of a report as coordinates, for every format that draws them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mentorgrad.domain.experiment import Cell, Comparison, Report
from mentorgrad.means import mean
from mentorgrad.reports.tables import FIGURE_TITLES, is_without_gradient, primary, reading, selected
from mentorgrad.reports.texts import interval, percent, signed

MOST_ROWS = 90
"""Maximum rows of a forest plot; beyond it, only the pooled rows are drawn."""
MOST_TASKS = 12
"""Maximum panels of the plot by task."""
MOST_DOTS = 200
"""Maximum dots per arm and panel; beyond it, evenly spaced runs are drawn."""

_SPREAD = 0.26
"""Height that the dots of a strip are spread over, in rows, so that equal values stay apart."""
_GOLDEN = 0.618
"""Neighbouring dots are this share of the spread apart."""


@dataclass(frozen=True)
class ForestRow:
    """The subject compared with another arm."""

    label: str
    """What stands beside it: the other arm if the row is pooled, else the task."""
    other: str
    """Name of the other arm."""
    task: str
    """Name of the task; empty: pooled over all tasks."""
    mean: float | None
    """Mean difference; None if it is not finite."""
    low: float | None
    """Lower end of the interval; None if the interval is unknown."""
    high: float | None
    """Upper end of the interval; None if the interval is unknown."""
    reading: str
    """``better``, ``worse`` or ``not shown``."""
    difference: str
    """The difference and its interval as text."""
    win_rate: str
    """Share of pairs in which the subject is better, as text."""
    pairs: int
    """Number of pairs."""

    @property
    def is_pooled(self) -> bool:
        """Whether the row is pooled over all tasks."""
        return not self.task


@dataclass(frozen=True)
class ForestChart:
    """Pooled and per-task differences of the primary figure, per arm, with their intervals."""

    figure: str
    """Title of the figure."""
    subject: str
    """Name of the arm that is compared; a negative difference of a loss is better."""
    rows: tuple[ForestRow, ...]
    """From top to bottom; an arm's pooled row stands before those of its tasks."""
    low: float
    """Left end of the axis."""
    high: float
    """Right end of the axis."""


@dataclass(frozen=True)
class Dot:
    """The figure of one run."""

    run_id: str
    """Id of the run."""
    variation: str
    """Name of its variation."""
    seed: int
    """Its seed."""
    value: float
    """The figure, finite."""
    lift: float
    """Where it is drawn across the strip, in rows from its middle."""


@dataclass(frozen=True)
class Strip:
    """The figures of an arm on a task."""

    arm: str
    """Name of the arm."""
    is_subject: bool
    """Whether the arm is the one that is evaluated."""
    runs: int
    """Number of runs with a finite figure."""
    mean: float | None
    """Their mean; None without any."""
    dots: tuple[Dot, ...]
    """At most `MOST_DOTS` of the runs."""


@dataclass(frozen=True)
class StripPanel:
    """The strips of a task, one per arm."""

    task: str
    """Name of the task."""
    low: float
    """Left end of the axis."""
    high: float
    """Right end of the axis."""
    strips: tuple[Strip, ...]
    """In the order of the arms; empty strips have no dots."""


@dataclass(frozen=True)
class StripChart:
    """The primary figure of every run, by task and arm, with the means of the arms."""

    figure: str
    """Title of the figure; lower is better."""
    tasks: int
    """Number of tasks of the report, of which `MOST_TASKS` are drawn at most."""
    panels: tuple[StripPanel, ...]
    """One per task."""


# -- differences ------------------------------------------------------------------------------


def forest_chart(report: Report) -> ForestChart | None:
    """The differences of the subject to the other arms; None if there is no comparison.

    Arms without gradient steps are only in the tables: their differences are so large that the
    others could not be distinguished in the plot.
    """
    alone = {arm.arm for arm in report.arms if is_without_gradient(arm)} - {report.subject}
    pooled, by_task = (
        [item for item in selected(report, primary(report), level) if item.other not in alone]
        for level in ("pooled", "task")
    )
    if not pooled:
        return None
    if len({item.task for item in by_task}) < 2 or len(pooled) + len(by_task) > MOST_ROWS:
        by_task = []
    low, high = _axis(_ends([*pooled, *by_task]), zero=True)
    return ForestChart(
        figure=FIGURE_TITLES[primary(report)],
        subject=report.subject,
        rows=tuple(map(_forest_row, _ordered(pooled, by_task))),
        low=low,
        high=high,
    )


def _ordered(pooled: Sequence[Comparison], by_task: Sequence[Comparison]) -> Iterator[Comparison]:
    for item in pooled:
        yield item
        yield from (inner for inner in by_task if inner.other == item.other)


def _forest_row(item: Comparison) -> ForestRow:
    found = item.difference
    is_known = math.isfinite(found.low) and math.isfinite(found.high)
    return ForestRow(
        label=item.task or f"vs. {item.other}",
        other=item.other,
        task=item.task,
        mean=found.mean if math.isfinite(found.mean) else None,
        low=found.low if is_known else None,
        high=found.high if is_known else None,
        reading=reading(item),
        difference=interval(found, signed),
        win_rate=percent(item.win_rate),
        pairs=found.count,
    )


def _ends(items: Sequence[Comparison]) -> list[float]:
    found = [item.difference for item in items]
    return [end for item in found for end in (item.low, item.high)] + [item.mean for item in found]


def _axis(values: Sequence[float], *, zero: bool = False) -> tuple[float, float]:
    """The ends of an axis: all finite values, and zero if it is asked for, with a margin."""
    finite = [0.0] * zero + [value for value in values if math.isfinite(value)]
    room = 0.06 * (max(finite) - min(finite)) or 0.01
    return min(finite) - room, max(finite) + room


# -- every run --------------------------------------------------------------------------------


def strip_chart(report: Report) -> StripChart | None:
    """The primary figure of every run; None if no run has it."""
    found: dict[tuple[str, str], list[tuple[Cell, float]]] = {}
    name = primary(report).value
    for cell in report.cells:
        value = getattr(cell, name)
        if value is not None and math.isfinite(value):
            found.setdefault((cell.task, cell.arm), []).append((cell, value))
    tasks = list(dict.fromkeys(task for task, _ in found))[:MOST_TASKS]
    arms = [item.arm for item in report.arms if any(arm == item.arm for _, arm in found)]
    if not tasks or not arms:
        return None
    return StripChart(
        figure=FIGURE_TITLES[primary(report)],
        tasks=len({cell.task for cell in report.cells}),
        panels=tuple(
            _panel(task, [_strip(arm, report, found.get((task, arm), [])) for arm in arms])
            for task in tasks
        ),
    )


def _panel(task: str, strips: Sequence[Strip]) -> StripPanel:
    values = [dot.value for strip in strips for dot in strip.dots]
    low, high = _axis(values) if values else (0.0, 1.0)
    return StripPanel(task, low, high, tuple(strips))


def _strip(arm: str, report: Report, runs: Sequence[tuple[Cell, float]]) -> Strip:
    drawn = runs[:: math.ceil(len(runs) / MOST_DOTS) or 1]
    return Strip(
        arm=arm,
        is_subject=arm == report.subject,
        runs=len(runs),
        mean=mean(value for _, value in runs) if runs else None,
        dots=tuple(
            Dot(
                cell.run_id,
                cell.variation,
                cell.seed,
                value,
                _SPREAD * ((number * _GOLDEN) % 1.0 - 0.5),
            )
            for number, (cell, value) in enumerate(drawn)
        ),
    )
