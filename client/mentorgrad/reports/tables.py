"""The tables of a report as texts, for the terminal, Markdown and HTML formats."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mentorgrad.domain.experiment import ArmReport, Cell, Comparison, Figure, Report
from mentorgrad.domain.run import RunState
from mentorgrad.outside_text import one_line
from mentorgrad.reports.texts import DASH, amount, interval, percent, signed

T = TypeVar("T")

FIGURE_TITLES = {
    Figure.TEST_LOSS: "test loss",
    Figure.TEST_ACCURACY: "test accuracy",
    Figure.SELECTION_LOSS: "selection loss",
}
"""Titles of the figures."""

MOST_FAILURES = 100
"""Maximum runs without a result that are listed."""

_ZERO_STEPS = (("stages", "steps"), ("stages.steps",))
"""Paths of an arm's changes that can set the gradient steps to 0."""


@dataclass(frozen=True)
class ReportTable:
    """A table of texts."""

    title: str
    """Its heading."""
    columns: tuple[str, ...]
    """Column headings; the first column names the row."""
    rows: tuple[tuple[str, ...], ...]
    """Cells, one per column."""
    note: str = ""
    """Explanation in one or two sentences; may be empty."""


# -- derived from a report --------------------------------------------------------------------


def primary(report: Report) -> Figure:
    """The figure of the verdict: the test loss if there is a test split."""
    has_test = any(arm.test_loss is not None for arm in report.arms)
    has_loss = any(arm.selection_loss is not None for arm in report.arms)
    return Figure.SELECTION_LOSS if has_loss and not has_test else Figure.TEST_LOSS


def is_without_gradient(arm: ArmReport) -> bool:
    """Whether the arm takes no gradient steps, so that its LLM or control searches alone."""
    if arm.runs and arm.gradient_steps == 0:
        return True
    try:
        changes = json.loads(arm.changes or "{}")
    except ValueError:
        return False
    return any(_at(changes, path) == 0 for path in _ZERO_STEPS)


def _at(value: object, path: Sequence[str]) -> object:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def failed_cells(report: Report) -> list[Cell]:
    """The runs that ended without a result."""
    return [
        cell
        for cell in report.cells
        if cell.state.is_final and cell.state is not RunState.SUCCEEDED
    ]


def reading(comparison: Comparison) -> str:
    """The result of a comparison: ``better``, ``worse`` or ``not shown``."""
    low, high = comparison.difference.low, comparison.difference.high
    if comparison.figure is Figure.TEST_ACCURACY:
        low, high = -high, -low
    if high < 0:
        return "better"
    return "worse" if low > 0 else "not shown"


def selected(report: Report, figure: Figure, level: str) -> list[Comparison]:
    """The comparisons of one figure.

    Args:
        report: The report.
        figure: The figure compared.
        level: ``pooled``, ``variation``, ``task`` or ``both``.
    """
    wanted = {
        "pooled": (False, False),
        "variation": (False, True),
        "task": (True, False),
        "both": (True, True),
    }[level]
    return [
        item
        for item in report.comparisons
        if item.figure is figure and (bool(item.task), bool(item.variation)) == wanted
    ]


# -- tables -----------------------------------------------------------------------------------


def tables(report: Report) -> list[ReportTable]:
    """All non-empty tables, in reading order."""
    return [*results(report), *_filled(failures(report)), *conditions(report)]


def results(report: Report) -> list[ReportTable]:
    """The results: arms and comparisons."""
    with_gradient = [arm for arm in report.arms if not is_without_gradient(arm)]
    without = [arm for arm in report.arms if is_without_gradient(arm)]
    return _filled(
        _arms("Arms", with_gradient),
        _arms("Arms without gradient steps", without),
        _baselines(report),
        _pooled(report),
        *(_by_place(report, level) for level in ("variation", "task")),
    )


def conditions(report: Report) -> list[ReportTable]:
    """Costs and conditions: costs, health, learning rates, limits, versions."""
    return _filled(
        _costs(report),
        _health(report),
        _settings(report),
        _limits(report),
        ReportTable("Versions", ("library", "version"), tuple(sorted(report.versions.items()))),
    )


def failures(report: Report) -> ReportTable:
    """The runs that ended without a result, and why."""
    found = failed_cells(report)
    more = f" The first {MOST_FAILURES} of {len(found)}." if len(found) > MOST_FAILURES else ""
    return _table(
        "Runs without a result",
        found[:MOST_FAILURES],
        {
            "arm": lambda cell: cell.arm,
            "task": lambda cell: cell.task,
            "variation": lambda cell: cell.variation,
            "seed": lambda cell: str(cell.seed),
            "run": lambda cell: cell.run_id,
            "state": lambda cell: cell.state.value,
            "reason": lambda cell: one_line(cell.reason) or DASH,
        },
        f"They are in no mean and in no pair.{more}",
    )


def _filled(*made: ReportTable) -> list[ReportTable]:
    return [table for table in made if table.rows]


def _table(
    title: str, items: Iterable[T], columns: Mapping[str, Callable[[T], str]], note: str = ""
) -> ReportTable:
    """A table with a row per item; `columns` maps each heading to what formats its cells."""
    rows = tuple(tuple(text(item) for text in columns.values()) for item in items)
    return ReportTable(title, tuple(columns), rows, note)


def _arms(title: str, arms: Iterable[ArmReport]) -> ReportTable:
    return _table(
        title,
        arms,
        {
            "arm": lambda arm: arm.arm,
            "proposals from": _proposer,
            "test loss": lambda arm: interval(arm.test_loss),
            "test accuracy": lambda arm: interval(arm.test_accuracy),
            "selection loss": lambda arm: interval(arm.selection_loss),
            "runs": lambda arm: str(arm.runs),
            "failed": lambda arm: str(arm.failed),
        },
        "Means over tasks and variations of the returned snapshots, with 95% intervals. "
        "Compare arms by the differences below, which are paired.",
    )


def _baselines(report: Report) -> ReportTable:
    return _table(
        "Baselines",
        report.baselines,
        {
            "baseline": lambda item: item.baseline,
            "task": lambda item: item.task,
            "variation": lambda item: item.variation,
            "test loss": lambda item: interval(item.test_loss),
            "test accuracy": lambda item: interval(item.test_accuracy),
            "seeds": lambda item: str(item.test_loss.count if item.test_loss else 0),
        },
        "Methods without prompt tuning on the same rows, outside the budget. They are fitted on "
        "every labelled row of a run (train and selection); means over seeds.",
    )


def _proposer(arm: ArmReport) -> str:
    if arm.shuffled:
        return "an LLM, scores shuffled"
    return "an LLM" if arm.uses_llm else "no LLM"


_COMPARED: dict[str, Callable[[Comparison], str]] = {
    "difference (95% interval)": lambda item: interval(item.difference, signed),
    "result": reading,
    "win rate": lambda item: percent(item.win_rate),
    "pairs": lambda item: str(item.difference.count),
}


def _pooled(report: Report) -> ReportTable:
    figures = [primary(report), *(figure for figure in Figure if figure is not primary(report))]
    return _table(
        f"{report.subject} compared with the other arms",
        [item for figure in figures for item in selected(report, figure, "pooled")],
        {
            "other arm": lambda item: item.other,
            "figure": lambda item: FIGURE_TITLES[item.figure],
            **_COMPARED,
        },
        "Pooled over tasks and variations. A negative difference means that the subject's figure "
        "is lower: better for a loss, worse for an accuracy.",
    )


def _by_place(report: Report, level: str) -> ReportTable:
    """Comparisons of the primary figure per task or variation; empty if there is only one."""
    found = selected(report, primary(report), level)
    places = {item.task or item.variation for item in found}
    return _table(
        f"{FIGURE_TITLES[primary(report)].capitalize()} by {level}",
        found if len(places) > 1 else [],
        {
            level: lambda item: item.task or item.variation,
            "other arm": lambda item: item.other,
            **_COMPARED,
        },
        "On average, one in twenty of these intervals misses the true difference by chance.",
    )


def _costs(report: Report) -> ReportTable:
    return _table(
        "Cost per run",
        [arm for arm in report.arms if arm.runs],
        {
            "arm": lambda arm: arm.arm,
            "gradient steps": lambda arm: amount(arm.gradient_steps),
            "evaluations": lambda arm: amount(arm.evaluations),
            "forward rows": lambda arm: amount(arm.forward_rows),
            "restarts": lambda arm: amount(arm.restarts),
            "LLM calls": lambda arm: amount(arm.mentor_calls),
            "tokens": lambda arm: amount(arm.tokens),
            "seconds": lambda arm: amount(arm.seconds),
            "idle": lambda arm: percent(arm.idle_share),
            "fallback": lambda arm: percent(arm.fallback_share),
        },
        "Idle: share of the time that training waited for the mentor. Fallback: share of the "
        "questions without a usable answer.",
    )


def _health(report: Report) -> ReportTable:
    return _table(
        "Health of plain training",
        report.health,
        {
            "task": lambda item: item.task,
            "variation": lambda item: item.variation,
            "accuracy": lambda item: percent(item.accuracy),
            "most frequent class": lambda item: percent(item.majority_accuracy),
            "zero-shot": lambda item: percent(item.zero_shot_accuracy),
            "healthy": lambda item: "yes" if item.healthy else "no",
        },
        "Accuracies. If plain training does not beat always predicting the most frequent class, a "
        "gain over plain training means little. Zero-shot: label words without a tuned prompt.",
    )


def _settings(report: Report) -> ReportTable:
    return _table(
        "Learning rates and other changes",
        report.arms,
        {
            "arm": lambda arm: arm.arm,
            "learning rate": lambda arm: f"{arm.learning_rate:g}",
            "changes": lambda arm: arm.changes or "none",
        },
    )


def _limits(report: Report) -> ReportTable:
    # A limit of 0 steps is reported as no limit is; the runs then take none.
    no_steps = bool(report.arms) and all(map(is_without_gradient, report.arms))
    limits = (
        ("gradient steps", "0" if no_steps else _limit(report.gradient_steps_limit)),
        ("evaluations", _limit(report.evaluations_limit)),
        # most experiments limit the other two
        *((("forward rows", _limit(limited)),) if (limited := report.forward_rows_limit) else ()),
    )
    return ReportTable("Limits per run", ("limit", "maximum"), limits)


def _limit(limit: int) -> str:
    return f"{limit:,}" if limit else "no limit"
