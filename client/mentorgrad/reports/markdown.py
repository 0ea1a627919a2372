"""A report as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mentorgrad.domain.experiment import Report
from mentorgrad.outside_text import one_line
from mentorgrad.reports.tables import ReportTable, tables
from mentorgrad.reports.texts import prose

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&$!]|:(?=//))")
"""Characters that can be markup within a line."""
_START = re.compile(r"^(\d*)([-+=.)])")
"""Text that can be markup at the start of a line."""


def markdown(report: Report, beside: Sequence[ReportTable] = ()) -> str:
    """The report as GitHub Markdown: question, verdict, tables; those `beside` it first."""
    parts = [f"# {_plain(report.name or report.experiment_id)}"]
    if report.description:
        parts.append(_plain(report.description))
    verdict = one_line(report.verdict)
    parts.append(f"**Verdict.** {prose(verdict, _escaped, _code)}")
    if not report.complete:
        parts.append("*Not all runs have ended: the figures are preliminary.*")
    parts += [_table(table) for table in (*beside, *tables(report))]
    parts.append(f"Experiment {_code(report.experiment_id)}.")
    return "\n\n".join(parts) + "\n"


def _table(table: ReportTable) -> str:
    lines = [
        _row(table.columns),
        "|" + "|".join([" --- "] * len(table.columns)) + "|",
        *(_row(row) for row in table.rows),
    ]
    text = f"## {_plain(table.title)}\n\n" + "\n".join(lines)
    return f"{text}\n\n{_plain(table.note)}" if table.note else text


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(_escaped(one_line(cell)) for cell in cells) + " |"


def _plain(text: str) -> str:
    """The text on one line, with all markup escaped."""
    return _START.sub(r"\1\\\2", _escaped(one_line(text)))


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)


def _code(text: str) -> str:
    flat = one_line(text).replace("`", "'")
    return f"`{flat}`" if flat else ""
