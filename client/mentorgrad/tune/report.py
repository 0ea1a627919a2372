"""The report of a tune: tables for every form of output, and the HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from mentorgrad.domain.experiment import Estimate
from mentorgrad.domain.query import RunReader
from mentorgrad.domain.run import Run
from mentorgrad.domain.spec import Criterion
from mentorgrad.outside_text import one_line
from mentorgrad.reports.label_tables import MOST_PRINTED_LABELS, matrix_table
from mentorgrad.reports.page import page, table_section
from mentorgrad.reports.run_report import run_parts
from mentorgrad.reports.tables import ReportTable
from mentorgrad.reports.texts import number
from mentorgrad.serialization import to_dict
from mentorgrad.tune.outcome import REPORTED, MethodFigures, TuneOutcome
from mentorgrad.tune.plan import METRIC_NAMES

MOST_LABELS_ON_PAGE = 60
"""Labels up to which the confusion matrix is on the page; beyond them, its largest numbers off the
diagonal stand in its place."""
_PAIRS = 20
_LONGEST = 200
"""Characters of a text on the page."""


def method_table(found: TuneOutcome) -> ReportTable:
    """All methods with their figures."""
    metric = found.metric
    columns = (
        "method",
        f"{METRIC_NAMES[metric]} on selection",
        "test accuracy (95% interval)",
        "test macro F1 (95% interval)",
        "test loss (95% interval)",
    )
    rows = tuple(
        (
            one.title,
            number(_on_selection(one, metric), 3),
            *(_interval(one.intervals[shown]) for shown in (*REPORTED, Criterion.LOSS)),
        )
        for one in found.methods
    )
    note = (
        "The choice is made on selection; test is reported only. Intervals: bootstrap over the "
        "test rows. On selection, the probe is one that was fitted on train alone."
    )
    return ReportTable("Which method", columns, rows, note)


def _on_selection(one: MethodFigures, metric: Criterion) -> float | None:
    return None if one.selection is None else getattr(one.selection, metric.value)


def _interval(found: Estimate) -> str:
    return f"{number(found.mean, 3)} ({number(found.low, 3)} to {number(found.high, 3)})"


def confusion_table(found: TuneOutcome, most: int = MOST_LABELS_ON_PAGE) -> ReportTable:
    """Test rows by label and prediction of the choice: the matrix, or with more than `most` labels
    the most frequent confusions."""
    if len(found.labels) > most:
        pairs = tuple((label, guess, str(count)) for label, guess, count in _confusions(found))
        columns = ("label", "predicted", "test rows")
        return ReportTable("The most frequent confusions on test", columns, pairs)
    return matrix_table("Test rows by label and prediction", found.labels, found.confusion)


def _confusions(found: TuneOutcome) -> list[tuple[str, str, int]]:
    counted = [
        (label, guess, count)
        for label, counts in zip(found.labels, found.confusion, strict=True)
        for guess, count in zip(found.labels, counts, strict=True)
        if count and guess != label
    ]
    return sorted(counted, key=lambda one: -one[2])[:_PAIRS]


def error_table(found: TuneOutcome) -> ReportTable:
    """The most confident errors of the choice."""
    rows = tuple(
        (_short(one.text), one.label, one.predicted, f"{one.share:.2f}") for one in found.errors
    )
    columns = ("text", "label", "predicted", "probability")
    return ReportTable("The most confident errors on test", columns, rows)


def _short(text: str) -> str:
    flat = one_line(text)
    return flat if len(flat) <= _LONGEST else flat[: _LONGEST - 1] + "…"


def shown_tables(found: TuneOutcome) -> list[ReportTable]:
    """The tables for a terminal."""
    tables = [method_table(found), confusion_table(found, MOST_PRINTED_LABELS), error_table(found)]
    return [table for table in tables if table.rows]


def tune_page(
    title: str,
    found: TuneOutcome,
    lists: Sequence[tuple[str, Sequence[str]]],
    reader: RunReader,
    run: Run,
) -> str:
    """The report as a self-contained HTML page.

    Args:
        title: Its heading.
        found: What came of it.
        lists: Headings with lines of text: what was read, and what was planned.
        reader: Where the run is.
        run: The run.
    """
    subject = next(one.title for one in found.methods if one.name == found.choice)
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<div class="verdict"><b>Which to use</b>{escape(found.advice)}</div>',
        table_section(method_table(found), subject),
        table_section(confusion_table(found)),
        table_section(error_table(found)) if found.errors else "",
        *(_lines(heading, lines) for heading, lines in lists),
        *run_parts(reader, run),
    ]
    return page(title, parts)


def _lines(heading: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(one_line(line))}</li>" for line in lines)
    return f"<section><h2>{escape(heading)}</h2><ul>{items}</ul></section>"


def outcome_facts(found: TuneOutcome) -> dict[str, Any]:
    """The outcome as JSON has it. Of very many labels, the matrix is left out."""
    is_small = len(found.labels) <= MOST_LABELS_ON_PAGE
    return {
        "labels": list(found.labels),
        "metric": found.metric.value,
        "choice": found.choice,
        "advice": found.advice,
        "methods": [
            {
                "name": one.name,
                "title": one.title,
                "selection": None if one.selection is None else to_dict(one.selection),
                "test": to_dict(one.test),
                "intervals": {
                    metric.value: [estimate.low, estimate.high]
                    for metric, estimate in one.intervals.items()
                },
            }
            for one in found.methods
        ],
        "confusion": [list(row) for row in found.confusion] if is_small else None,
        "confusions": [list(one) for one in _confusions(found)],
        "errors": [asdict(error) for error in found.errors],
    }
