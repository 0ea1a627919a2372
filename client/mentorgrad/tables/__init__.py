"""Labelled tables in files: reads, checks and splits them. Imports no torch."""

from __future__ import annotations

from mentorgrad.tables.report import TableReport, report_lines
from mentorgrad.tables.table import Table, read_table
from mentorgrad.tables.writing import WrittenSplit, write_splits

__all__ = ["Table", "TableReport", "WrittenSplit", "read_table", "report_lines", "write_splits"]
