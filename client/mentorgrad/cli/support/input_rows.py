"""Reads the rows of a CSV, TSV or JSONL file one after another, or lines of standard input."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mentorgrad.errors import InvalidInput, NotFound

MAX_CELL = 16 * 1024 * 1024
"""Maximum length of a CSV cell, characters."""

LINES = Path("-")
"""Stands for standard input, with one text per line."""

TEXT = "text"
"""Column of the texts of standard input."""


@dataclass(frozen=True)
class InputRow:
    """A row, or why it cannot be read."""

    where: str
    """``line 3``."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Values by column."""
    error: str = ""
    """Why it cannot be read; there are no values then."""


def rows_of(path: Path) -> Iterator[InputRow]:
    """The rows of a file in order, in constant memory. A byte order mark is skipped, and so are
    empty lines of JSONL and of CSV.

    Args:
        path: A ``.csv``, ``.tsv`` or ``.jsonl`` file in UTF-8, or `LINES`.

    Raises:
        NotFound: There is no such file.
        InvalidInput: It has another suffix, or no usable line with the columns.
    """
    if path == LINES:
        for number, line in enumerate(sys.stdin.buffer, start=1):
            yield _line(number, line)
        return
    reader = {".csv": _csv, ".tsv": _csv, ".jsonl": _jsonl}.get(path.suffix.casefold())
    if reader is None:
        raise InvalidInput(f"{path}: must be a .csv, .tsv or .jsonl file")
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder, not a file")
    try:
        yield from reader(path)
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist") from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {(error.strerror or '').lower()}") from None


def _line(number: int, line: bytes) -> InputRow:
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        return InputRow(f"line {number}", error="is not UTF-8")
    return InputRow(f"line {number}", {TEXT: text})


def _csv(path: Path) -> Iterator[InputRow]:
    csv.field_size_limit(MAX_CELL)
    dialect = "excel-tab" if path.suffix.casefold() == ".tsv" else "excel"
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        cells = csv.reader(file, dialect, strict=True)
        columns: list[str] | None = None
        while True:
            where = f"line {cells.line_num + 1}"
            try:
                row = next(cells, None)
            except csv.Error as error:
                row = []
                problem = str(error)
            else:
                if row is None:
                    return
                if not row:
                    continue
                problem = _problem(row, columns)
            if columns is None:
                if problem:
                    raise InvalidInput(f"{path}: {where}: {problem}")
                columns = row
            elif problem:
                yield InputRow(where, error=problem)
            else:
                yield InputRow(where, dict(zip(columns, row, strict=True)))


def _problem(row: list[str], columns: list[str] | None) -> str:
    """What is wrong with the cells of a row; of the first row, with the names of columns."""
    if any("\udc80" <= character <= "\udcff" for cell in row for character in cell):
        return "is not UTF-8"
    if columns is None:
        twice = next((name for name in row if row.count(name) > 1), None)
        return "" if twice is None else f"names the column {twice!r} twice"
    if len(row) != len(columns):
        return f"has {len(row)} cells; there are {len(columns)} columns"
    return ""


def _jsonl(path: Path) -> Iterator[InputRow]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"line {number}"
            try:
                record = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError:
                yield InputRow(where, error="is not UTF-8")
            except (ValueError, RecursionError):
                yield InputRow(where, error="is not valid JSON")
            else:
                if isinstance(record, dict):
                    yield InputRow(where, record)
                else:
                    yield InputRow(where, error="is not a JSON object")
