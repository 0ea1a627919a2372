"""A report as a self-contained HTML file: no scripts, no external resources."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mentorgrad.domain.experiment import Report
from mentorgrad.reports.chart_views import MOST_TASKS
from mentorgrad.reports.charts import BETTER, UNCLEAR, WORSE, forest, strips
from mentorgrad.reports.page import page, table_section
from mentorgrad.reports.tables import ReportTable, failures, results
from mentorgrad.reports.texts import TextPart
from mentorgrad.reports.view import ReportView, report_view

_PRELIMINARY = '<p class="warning">Not all runs have ended: the figures are preliminary.</p>'


def html(report: Report, beside: Sequence[ReportTable] = ()) -> str:
    """The report as a self-contained HTML page, with the tables `beside` it first.

    Raises:
        Unsupported: matplotlib, which draws the plots, is not installed.
    """
    view = report_view(report, beside)
    parts = [
        f"<h1>{escape(view.title)}</h1>",
        f'<p class="question">{escape(view.description)}</p>' if view.description else "",
        _verdict(view),
        "" if view.is_complete else _PRELIMINARY,
        _forest(view),
        *map(table_section, view.beside),
        _sections(view.results, view.subject),
        _strips(view),
        table_section(failures(report)) if view.failed else "",
        _sections(view.conditions, view.subject),
        f"<footer>Experiment <code>{escape(view.experiment_id)}</code></footer>",
    ]
    return page(view.title, parts)


def tables(report: Report) -> str:
    """The tables of the results alone, without a style."""
    return _sections(results(report), report.subject)


def _sections(found: Sequence[ReportTable], subject: str) -> str:
    return "\n".join(table_section(table, subject) for table in found)


def _verdict(view: ReportView) -> str:
    """The claim in large type; below it its figures and caveats."""
    grounds = _prose(view.grounds)
    below = f'<span class="figures">{grounds}</span>' if grounds else ""
    return f'<div class="verdict"><b>Verdict</b>{_prose(view.claim)}{below}</div>'


def _prose(parts: Sequence[TextPart]) -> str:
    return "".join(
        f"<code>{escape(part.text)}</code>" if part.is_name else escape(part.text) for part in parts
    )


def _forest(view: ReportView) -> str:
    plot = forest(view.forest)
    if not plot:
        return ""
    subject = escape(view.subject)
    key = "".join(
        f'<span><b style="color:{colour}">{sign}</b> {text}</span>'
        for colour, sign, text in (
            (BETTER, "◆", f"{subject} is better"),
            (WORSE, "◆", f"{subject} is worse"),
            (UNCLEAR, "◆", "the interval includes zero: no difference shown"),
        )
    )
    return (
        f"<section><h2>Difference of {view.figure}: {subject} compared with each other arm</h2>"
        f'{plot}<p class="note key">{key}</p><p class="note">Paired by task, variation and seed, '
        "with 95% intervals. Diamonds are pooled over tasks, dots are single tasks.</p></section>"
    )


def _strips(view: ReportView) -> str:
    plot = strips(view.strips)
    if view.strips is None:
        return ""
    tasks = view.strips.tasks
    more = f" The first {MOST_TASKS} of {tasks} tasks." if tasks > MOST_TASKS else ""
    return (
        f"<section><h2>{view.figure.capitalize()} of every run, by task</h2>{plot}"
        f'<p class="note">Each dot is one run, each bar the mean of an arm. Lower is better.{more}'
        "</p></section>"
    )
