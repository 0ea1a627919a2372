"""What was read of a table, for people (six lines) and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
"""Delimiters that are looked for, and their names."""

_SHOWN = 8
"""Labels, numbers and conflicts shown in a line."""


@dataclass(frozen=True)
class LabelCount:
    """A label of a table."""

    label: str
    """How the label is written."""
    rows: int
    """Used rows."""
    spellings: tuple[str, ...] = ()
    """Other ways in which the table writes it."""
    word: str = ""
    """What a model reads for it; empty: the label itself."""


@dataclass(frozen=True)
class DroppedRows:
    """Rows that are left out for one reason."""

    reason: str
    """Why, in words."""
    rows: int
    """How many."""
    at: tuple[int, ...]
    """Numbers of the first of them, in `TableReport.unit`."""


@dataclass(frozen=True)
class LabelConflict:
    """One text that stands in the table with several labels."""

    at: tuple[int, ...]
    """Numbers of its rows, in `TableReport.unit`."""
    labels: tuple[str, ...]
    """Its labels; the first is kept."""


@dataclass(frozen=True)
class SplitSizes:
    """Rows of the three splits."""

    train: int
    """Rows that gradients are computed on."""
    selection: int
    """Rows that candidates are scored on."""
    test: int
    """Rows that the final result is scored on, once."""


@dataclass(frozen=True)
class TableReport:
    """What was read of a table."""

    file: str
    """Name of the file or folder."""
    encoding: str
    """Encoding of a text file; empty for other formats."""
    delimiter: str
    """Delimiter of a CSV file; empty for other formats."""
    sheet: str
    """Sheet of a workbook, or split of a data set; empty: the only one."""
    remarks: tuple[str, ...]
    """What was concluded about the form of the file, in words."""
    text: str
    """Column of the text."""
    pair: str
    """Column of the second text; empty: none."""
    label: str
    """Column of the label."""
    group: str
    """Column of groups; empty: none."""
    unit: str
    """What the numbers of rows count: ``line``, ``row`` or ``item`` of the file."""
    rows: int
    """Rows below the header."""
    used: int
    """Rows that are used."""
    labels: tuple[LabelCount, ...]
    """Labels in class order."""
    imbalance: float
    """Used rows of the largest class, as a multiple of those of the smallest."""
    dropped: tuple[DroppedRows, ...]
    """Rows that are left out, by reason."""
    conflicts: int
    """Texts that stand in the table with several labels."""
    conflict_examples: tuple[LabelConflict, ...]
    """The first of them."""
    longest: int
    """Length of the longest used text, in characters, with its second text."""
    longest_at: int
    """Number of its row."""
    splits: SplitSizes
    """Rows of the splits."""
    seed: int
    """Seed of the splits."""
    test_file: str
    """Name of the test file; empty: test rows come from the table."""


def report_lines(report: TableReport) -> list[str]:
    """The report in six lines: form, rows, labels, dropped rows, longest text, splits."""
    return [
        _form(report),
        f"rows: {report.rows:,} read, {report.used:,} used",
        _labels(report),
        _dropped(report),
        f"longest text: {report.longest:,} characters ({report.unit} {report.longest_at})",
        _splits(report),
    ]


def _form(report: TableReport) -> str:
    delimiter = DELIMITERS.get(report.delimiter, report.delimiter)
    said = [
        report.encoding and report.encoding.upper(),
        delimiter and f"{delimiter} as delimiter",
        report.sheet and f"sheet {shown(report.sheet)}",
        *report.remarks,
        f"text in column {shown(report.text)}",
        report.pair and f"second text in {shown(report.pair)}",
        f"label in column {shown(report.label)}",
        report.group and f"groups in {shown(report.group)}",
    ]
    return f"{shown(report.file)}: {', '.join(part for part in said if part)}"


def _labels(report: TableReport) -> str:
    counts = _some([f"{_named(one)} {one.rows:,}" for one in report.labels])
    merged = [
        f"{' and '.join(shown(word) for word in one.spellings[:3])} read as {shown(one.label)}"
        for one in report.labels
        if one.spellings
    ]
    said = f"labels: {len(report.labels)} ({counts})"
    if report.imbalance > 3:
        said += f"; unbalanced: the largest is {report.imbalance:.1f} times the smallest"
    return said + (f"; {_some(merged)}" if merged else "")


def _named(count: LabelCount) -> str:
    word = f" = {shown(count.word)}" if count.word not in ("", count.label) else ""
    return shown(count.label) + word


def _dropped(report: TableReport) -> str:
    total = sum(found.rows for found in report.dropped)
    reasons = [
        f"{found.rows:,} {found.reason} ({report.unit} {_numbers(found.at, found.rows)})"
        for found in report.dropped
    ]
    said = f"dropped: {total:,} rows" + (f": {'; '.join(reasons)}" if reasons else "")
    if not report.conflicts:
        return said
    examples = [
        f"{report.unit} {_numbers(one.at, len(one.at))}: "
        + " or ".join(shown(label) for label in one.labels)
        for one in report.conflict_examples[:3]
    ]
    return f"{said}; {report.conflicts:,} texts have several labels ({'; '.join(examples)})"


def _splits(report: TableReport) -> str:
    sizes = report.splits
    where = f" from {shown(report.test_file)}" if report.test_file else ""
    return (
        f"split (seed {report.seed}): {sizes.train:,} train, {sizes.selection:,} selection, "
        f"{sizes.test:,} test{where}"
    )


def _some(items: Sequence[str]) -> str:
    more = len(items) - _SHOWN
    return ", ".join(items[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _numbers(at: Sequence[int], count: int) -> str:
    return ", ".join(str(number) for number in at[:_SHOWN]) + (", ..." if count > _SHOWN else "")


def printable(text: str) -> str:
    """A text without control characters: where it has any, they are written as escapes."""
    return text if text.isprintable() else repr(text)[1:-1]


def shown(text: str) -> str:
    """The beginning of a name or label, without control characters."""
    flat = printable(text)
    return flat if len(flat) <= 60 else flat[:59] + "…"
