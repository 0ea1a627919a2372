"""The file of finished runs: one JSON object per line, only ever appended to."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO, Any

from bench.mentor_value.arms import Cell
from mentorgrad.domain.objective import Calibration
from mentorgrad.errors import InvalidInput, PreconditionFailed

VERSION = 1
"""Raised when a record's figures can no longer be compared with earlier ones."""

_FIRST = Calibration.BATCH
"""Calibration of the records that do not say theirs."""

Record = dict[str, Any]
"""A finished run: ``bench`` (the version), the fields of its cell, and its figures."""


def cell_of(record: Record) -> Cell:
    """The cell that a record belongs to."""
    return Cell(**{field.name: record[field.name] for field in fields(Cell)})


def read_records(path: Path, calibration: Calibration) -> list[Record]:
    """Reads a file's records of one calibration; a last line that was cut off is left out.

    Raises:
        InvalidInput: A line is not a record, or of another version of this benchmark.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    records = [_record(path, number, line) for number, line in enumerate(lines[:-1], start=1)]
    return [record for record in records if record.get("calibration", _FIRST) == calibration]


def _record(path: Path, number: int, line: str) -> Record:
    try:
        record: Record = json.loads(line)
        cell_of(record)
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidInput(f"{path}, line {number}: not a record of a run: {error}") from error
    if record.get("bench") != VERSION:
        raise InvalidInput(
            f"{path}, line {number}: of version {record.get('bench')} of this benchmark, which is "
            f"now version {VERSION}; give --records another file"
        )
    return record


class RecordFile:
    """Appends records. Use `open_records`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def append(self, cell: Cell, figures: Record) -> None:
        """Writes one line; it is on disk when this returns."""
        line = json.dumps({"bench": VERSION, **asdict(cell), **figures})
        self._file.write(line.encode() + b"\n")
        self._file.flush()


@contextmanager
def open_records(path: Path) -> Iterator[RecordFile]:
    """Opens a file for appending, for this process alone; a line that was cut off is removed.

    Raises:
        PreconditionFailed: Another process writes it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise PreconditionFailed(f"{path}: another process writes this file") from error
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        yield RecordFile(file)
