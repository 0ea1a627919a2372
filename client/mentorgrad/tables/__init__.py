"""Labelled tables in files: reads, checks and splits them. Imports no torch."""

from __future__ import annotations

from mentorgrad.tables.columns import TableColumns
from mentorgrad.tables.deciding import TableRow
from mentorgrad.tables.report import (
    DroppedRows,
    LabelConflict,
    LabelCount,
    SplitSizes,
    TableReport,
    report_lines,
)
from mentorgrad.tables.table import Table, read_table
from mentorgrad.tables.writing import WrittenSplit, write_splits

__all__ = [
    "DroppedRows",
    "LabelConflict",
    "LabelCount",
    "SplitSizes",
    "Table",
    "TableColumns",
    "TableReport",
    "TableRow",
    "WrittenSplit",
    "read_table",
    "report_lines",
    "write_splits",
]
