"""Writes rows one after another: CSV, TSV, JSON lines or parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Protocol

from mentorgrad.tables.malformed import missing_package

KINDS = ("csv", "tsv", "jsonl", "parquet")
"""Suffixes of the files that are written."""

_BATCH_ROWS = 1024
"""Rows of a parquet file that are kept until they are written."""


class RowFile(Protocol):
    """A file of rows; the file it writes to stays open."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes one row: values by column."""

    def close(self) -> None:
        """Writes what is left to write."""


def row_file(
    kind: str, file: BinaryIO, columns: Sequence[str], numbers: Sequence[str], schema: Any = None
) -> RowFile:
    """Opens a file of rows.

    Args:
        kind: One of `KINDS`.
        file: Where to.
        columns: Columns; JSON lines have whatever a row has.
        numbers: Those of them that hold floating point numbers.
        schema: Arrow schema with the types of other columns of a parquet file; the rest are texts.

    Raises:
        Unsupported: Parquet needs a package that is not installed.
    """
    if kind == "parquet":
        return _Parquet(file, columns, numbers, schema)
    return _Lines(file) if kind == "jsonl" else _Cells(file, kind, columns)


def _text_to(file: BinaryIO) -> io.TextIOWrapper:
    """In UTF-8 whatever the locale is; half of a surrogate pair as JSON escapes it."""
    return io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="")


class _Lines:
    def __init__(self, file: BinaryIO) -> None:
        self._file = _text_to(file)

    def write(self, row: Mapping[str, Any]) -> None:
        known = {name: None if value != value else value for name, value in row.items()}
        self._file.write(json.dumps(known, ensure_ascii=False, default=str) + "\n")

    def close(self) -> None:
        self._file.detach()


class _Cells:
    def __init__(self, file: BinaryIO, kind: str, columns: Sequence[str]) -> None:
        self._file = _text_to(file)
        self._columns = columns
        dialect = "excel-tab" if kind == "tsv" else "excel"
        self._cells = csv.writer(self._file, dialect, lineterminator="\n")
        self._cells.writerow(columns)

    def write(self, row: Mapping[str, Any]) -> None:
        self._cells.writerow([_cell(row.get(name)) for name in self._columns])

    def close(self) -> None:
        self._file.detach()


class _Parquet:
    def __init__(
        self, file: BinaryIO, columns: Sequence[str], numbers: Sequence[str], schema: Any
    ) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise missing_package("parquet and Arrow files", "pyarrow", error) from error
        known = {} if schema is None else {field.name: field.type for field in schema}
        known |= dict.fromkeys(numbers, pyarrow.float64())
        text = pyarrow.string()
        self._table = pyarrow.Table
        self._schema = pyarrow.schema([(name, known.get(name, text)) for name in columns])
        self._texts = [name for name in columns if known.get(name, text) == text]
        self._file = pyarrow.parquet.ParquetWriter(file, self._schema)
        self._rows: list[dict[str, Any]] = []

    def write(self, row: Mapping[str, Any]) -> None:
        texts = {name: _cell(row[name]) for name in self._texts if row.get(name) is not None}
        self._rows.append({**row, **texts})
        if len(self._rows) == _BATCH_ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        self._file.write_table(self._table.from_pylist(self._rows, self._schema))
        self._rows.clear()


def _cell(value: Any) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, (dict, list, bool)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
