"""A report as text: tables on a terminal, tab-separated lines in a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from mentorgrad.domain.experiment import Report
from mentorgrad.outside_text import one_line
from mentorgrad.reports.tables import ReportTable, tables


class Screen(Protocol):
    """Output of the report: `mentorgrad.cli.support.output.Output`."""

    def line(self, text: str = "", style: str = "") -> None:
        """Prints one line."""
        ...

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Prints a table."""
        ...


def show(report: Report, out: Screen, beside: Sequence[ReportTable] = ()) -> None:
    """Prints question, verdict and tables, those `beside` the report first."""
    out.line(one_line(report.name or report.experiment_id), style="bold")
    if report.description:
        out.line(one_line(report.description))
    out.line()
    out.line(one_line(report.verdict), style="bold")
    if not report.complete:
        out.line("Not all runs have ended: the figures are preliminary.", style="yellow")
    for table in (*beside, *tables(report)):
        out.line()
        out.line(one_line(table.title), style="bold")
        out.table(table.columns, [[one_line(cell) for cell in row] for row in table.rows])
        if table.note:
            out.line(table.note, style="dim")
