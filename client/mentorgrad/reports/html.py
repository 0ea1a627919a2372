"""A report as a self-contained HTML file: no scripts, no external resources."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mentorgrad.domain.experiment import Report
from mentorgrad.reports.charts import BETTER, MOST_TASKS, UNCLEAR, WORSE, forest, strips
from mentorgrad.reports.page import page, table_section
from mentorgrad.reports.tables import (
    FIGURE_TITLES,
    ReportTable,
    conditions,
    primary,
    prose,
    results,
)

_PRELIMINARY = '<p class="warning">Not all runs have ended: the figures are preliminary.</p>'


def html(report: Report, beside: Sequence[ReportTable] = ()) -> str:
    """The report as a self-contained HTML page, with the tables `beside` it first.

    Raises:
        Unsupported: matplotlib, which draws the plots, is not installed.
    """
    title = escape(report.name or report.experiment_id)
    parts = [
        f"<h1>{title}</h1>",
        f'<p class="question">{escape(report.description)}</p>' if report.description else "",
        _verdict(report.verdict),
        "" if report.complete else _PRELIMINARY,
        _forest(report),
        *map(table_section, beside),
        tables(report),
        _strips(report),
        *(table_section(table, report.subject) for table in conditions(report)),
        f"<footer>Experiment <code>{escape(report.experiment_id)}</code></footer>",
    ]
    return page(report.name or report.experiment_id, parts)


def tables(report: Report) -> str:
    """The tables of the results alone, without a style."""
    return "\n".join(table_section(table, report.subject) for table in results(report))


def _verdict(sentence: str) -> str:
    """The claim in large type; below it its figures and caveats."""
    claim, mark, rest = sentence.partition(" (pooled")
    below = f'<span class="figures">{_prose(f"{mark}{rest}".strip())}</span>' if mark else ""
    return f'<div class="verdict"><b>Verdict</b>{_prose(claim)}{below}</div>'


def _prose(text: str) -> str:
    return prose(text, escape, lambda name: f"<code>{escape(name)}</code>")


def _forest(report: Report) -> str:
    plot = forest(report)
    if not plot:
        return ""
    subject, figure = escape(report.subject), FIGURE_TITLES[primary(report)]
    key = "".join(
        f'<span><b style="color:{colour}">{sign}</b> {text}</span>'
        for colour, sign, text in (
            (BETTER, "◆", f"{subject} is better"),
            (WORSE, "◆", f"{subject} is worse"),
            (UNCLEAR, "◆", "the interval includes zero: no difference shown"),
        )
    )
    return (
        f"<section><h2>Difference of {figure}: {subject} compared with each other arm</h2>{plot}"
        f'<p class="note key">{key}</p><p class="note">Paired by task, variation and seed, '
        "with 95% intervals. Diamonds are pooled over tasks, dots are single tasks.</p></section>"
    )


def _strips(report: Report) -> str:
    plot = strips(report)
    if not plot:
        return ""
    figure = FIGURE_TITLES[primary(report)].capitalize()
    tasks = len({cell.task for cell in report.cells})
    more = f" The first {MOST_TASKS} of {tasks} tasks." if tasks > MOST_TASKS else ""
    return (
        f"<section><h2>{figure} of every run, by task</h2>{plot}"
        f'<p class="note">Each dot is one run, each bar the mean of an arm. Lower is better.{more}'
        "</p></section>"
    )
