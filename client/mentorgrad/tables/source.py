"""A table as it lies on disk: one file, or the files of one split of a Hugging Face data set."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from mentorgrad.tables.form import find_form
from mentorgrad.tables.malformed import MalformedError
from mentorgrad.tables.records import (
    FORMATS,
    FileRecord,
    Quoting,
    Refuse,
    RowPlace,
    TableForm,
    column_names,
    raise_refused,
    records,
)

_TEXT_FORMATS = (".csv", ".tsv", ".jsonl", ".json")
_TYPED_FORMATS = (".parquet", ".arrow")
_PARTS = (".parquet", ".csv", ".tsv", ".jsonl", ".json", ".arrow")
_SPLIT = re.compile(r"(?:^|[/._-])(train|validation|dev|valid|val|test)(?=$|[/._-])")
_MAX_FILES = 10_000
_CHECKED_ROWS = 4096
"""Rows between two looks at whether the files have changed."""


@dataclass(frozen=True)
class TableSource:
    """Files of one table, and how they are written."""

    files: tuple[Path, ...]
    """The files, in the order of their rows."""
    form: TableForm
    """How their cells are written."""
    columns: tuple[str, ...]
    """Names of the columns, in file order."""
    classes: Mapping[str, tuple[str, ...]]
    """Maps a column of class indices to the names of the classes."""
    remarks: tuple[str, ...]
    """What was concluded about the form, in words."""
    state: tuple[tuple[int, int, int], ...]
    """Inode, size and time of change of each file when it was opened."""

    def records(self, columns: Sequence[str], refuse: Refuse | None = None) -> Iterator[FileRecord]:
        """Yields the records, in constant memory where the format allows.

        Args:
            columns: Columns to read.
            refuse: Takes the errors of malformed records; None: the first one is raised.

        Raises:
            MalformedError: A record is malformed, or a file has changed since it was opened.
        """
        self._require_unchanged()
        several = len(self.files) > 1
        count = 0
        for file in self.files:
            try:
                for where, record in records(
                    file, columns, self.form, self._refusing(file, refuse)
                ):
                    count += 1
                    if count % _CHECKED_ROWS == 0:
                        self._require_unchanged()
                    yield RowPlace("row", count) if several else where, self._named(record)
            except MalformedError as error:
                raise self._named_error(file, error) from None
        self._require_unchanged()

    def every_column(self) -> tuple[str, ...]:
        """Names of the columns in file order; of JSON, those of all records, which are read for
        it."""
        if self.files[0].suffix.lower() not in (".jsonl", ".json"):
            return self.columns
        names = dict.fromkeys(self.columns)
        for _, record in self.records((), lambda error: None):
            names.update(dict.fromkeys(record))
        return tuple(names)

    def schema(self) -> Any:
        """The Arrow schema of the columns of a parquet or Arrow file, as its records have them;
        None: the format has no types."""
        if self.files[0].suffix.lower() not in _TYPED_FORMATS:
            return None
        import pyarrow

        from mentorgrad.tables.arrow import schema

        return pyarrow.schema(
            field.with_type(pyarrow.string()) if field.name in self.classes else field
            for field in schema(self.files[0])
        )

    def _refusing(self, file: Path, refuse: Refuse | None) -> Refuse:
        if refuse is None:
            return raise_refused
        return lambda error: refuse(self._named_error(file, error))

    def _named_error(self, file: Path, error: MalformedError) -> MalformedError:
        self._require_unchanged()  # half of a row is malformed too
        return MalformedError(f"{file.name}: {error}") if len(self.files) > 1 else error

    def _named(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """The record with names instead of class indices; -1 stands for no label."""
        if not self.classes:
            return record
        named = dict(record)
        for column in self.classes.keys() & named.keys():
            names, value = self.classes[column], named[column]
            if isinstance(value, int) and value < len(names):
                named[column] = names[value] if value >= 0 else None
        return named

    def _require_unchanged(self) -> None:
        if _state(self.files) != self.state:
            raise MalformedError("changes while it is read; make a copy and read that")


def open_source(
    path: Path,
    columns: Sequence[str] = (),
    *,
    delimiter: str = "",
    encoding: str = "",
    quoting: str = "",
    sheet: str = "",
) -> TableSource:
    """Finds the files of a table and how they are written.

    Args:
        path: A file, or the folder of a Hugging Face data set.
        columns: Columns that the table must have; they decide between delimiters.
        delimiter: Delimiter of a CSV file; empty: found.
        encoding: Encoding of a text file; empty: found.
        quoting: Quoting of a CSV file; empty: found.
        sheet: Sheet of an Excel workbook, or split of a data set; empty: the only one.

    Raises:
        MalformedError: There is no such table, or more than one.
        OSError: A file cannot be read.
        Unsupported: The format needs a package that is not installed.
    """
    files = split_files(path, sheet) if path.is_dir() else (path,)
    state = _state(files)
    for file in files:
        _require_data(file)
    first = files[0]
    suffix = first.suffix.lower()
    form = TableForm(encoding or "utf-8", delimiter, sheet=sheet)
    remarks: tuple[str, ...] = ()
    if quoting and quoting not in list(Quoting):
        raise MalformedError(f"quoting must be one of: {', '.join(Quoting)}; not {quoting!r}")
    if delimiter and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise MalformedError(
            f"delimiter must be one character other than a quote, not {delimiter!r}"
        )
    if suffix in _TEXT_FORMATS:
        found = find_form(first, columns, encoding=encoding, delimiter=delimiter, quoting=quoting)
        form, remarks = found.form, found.remarks
    classes: Mapping[str, tuple[str, ...]] = {}
    if suffix in _TYPED_FORMATS:
        from mentorgrad.tables.arrow import class_names

        classes = class_names(first)
    return TableSource(files, form, tuple(column_names(first, form)), classes, remarks, state)


def split_files(folder: Path, split: str) -> tuple[Path, ...]:
    """Files of one split of a Hugging Face data set, as ``save_to_disk`` or the hub lays it out.

    Raises:
        MalformedError: The folder holds no data set, or several splits and none is named.
    """
    if (folder / "dataset_dict.json").is_file():
        names = _listed(folder / "dataset_dict.json", "splits")
        saved = folder / _chosen(names, split)
        return _saved_files(saved)
    if (folder / "state.json").is_file():
        return _saved_files(folder)
    found: dict[str, list[Path]] = {}
    inside = list(islice(folder.rglob("*"), _MAX_FILES + 1))
    if len(inside) > _MAX_FILES:
        raise MalformedError(f"is a folder with more than {_MAX_FILES} files; name a file")
    for file in sorted(inside):
        place = file.relative_to(folder)
        if file.suffix in _PARTS and file.is_file() and not place.parts[0].startswith("."):
            name = _SPLIT.search(place.with_suffix("").as_posix().lower())
            found.setdefault(name[1] if name else "train", []).append(file)
    if not found:
        raise MalformedError(
            "is a folder without data files; name a file, or the folder of a Hugging Face data set"
        )
    files = found[_chosen(list(found), split)]
    if len({file.suffix for file in files}) > 1 or (
        len(files) > 1 and not all("-of-" in file.name for file in files)
    ):
        shown = ", ".join(file.name for file in files[:4])
        raise MalformedError(f"is a folder with several tables ({shown}, ...); name one of them")
    return tuple(files)


def _saved_files(folder: Path) -> tuple[Path, ...]:
    names = _listed(folder / "state.json", "_data_files")
    files = tuple(folder / str(name.get("filename")) for name in names if isinstance(name, dict))
    inside = all(file.resolve().is_relative_to(folder.resolve()) for file in files)
    if not files or not inside or not all(file.suffix == ".arrow" for file in files):
        raise MalformedError(f"{folder.name}/state.json names no Arrow files of this folder")
    return files


def _listed(file: Path, name: str) -> list[Any]:
    try:
        found = json.loads(file.read_bytes()).get(name)
    except (ValueError, AttributeError, RecursionError):
        found = None
    if not isinstance(found, list) or not found:
        raise MalformedError(f"{file.name}: has no list {name!r}")
    return found


def _chosen(names: Sequence[str], split: str) -> str:
    if split in names:
        return split
    if split or len(names) > 1:
        listed = ", ".join(str(name) for name in names)
        wrong = f"has no split {split!r}; its splits are" if split else "has the splits"
        raise MalformedError(f"{wrong}: {listed}; name one with --sheet")
    return names[0]


def _require_data(path: Path) -> None:
    if path.suffix.lower() not in FORMATS:
        raise MalformedError(f"unknown file type; the name must end in one of {', '.join(FORMATS)}")
    if not path.is_file():
        raise MalformedError("is not a regular file; write its content to one")
    with path.open("rb") as file:
        if not file.read(1):
            raise MalformedError("is empty; it must have a header and at least one row")


def _state(files: Sequence[Path]) -> tuple[tuple[int, int, int], ...]:
    found = [os.stat(file) for file in files]
    return tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in found)
