"""Reads the records of a CSV, TSV, JSONL, JSON, parquet, Arrow or Excel file, one after another.

A record that does not fit the columns is refused, never read shifted or cut. Refusing ends the
reading, unless the caller takes the errors of single records.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from mentorgrad.tables.json_array import is_json_array, json_items, json_problem
from mentorgrad.tables.malformed import MalformedError

MAX_LINE = 16 * 1024 * 1024
"""Maximum length of a line in bytes, and of a CSV cell in characters."""


class Quoting(StrEnum):
    """How the cells of a CSV or TSV file are quoted."""

    DOUBLED = "doubled"
    """In double quotes, where needed; a quote inside is written twice."""
    BACKSLASH = "backslash"
    """In double quotes, where needed; a backslash stands before a quote inside."""
    NONE = "none"
    """Never: a quote is a character like any other."""


@dataclass(frozen=True)
class TableForm:
    """How the cells of a file are written. A format ignores what it does not have."""

    encoding: str = "utf-8"
    """Encoding of a text file."""
    delimiter: str = ""
    """Delimiter of a CSV file; empty: a comma, or a tab in a file whose name ends in .tsv."""
    quoting: Quoting = Quoting.DOUBLED
    """Quoting of a CSV file."""
    sheet: str = ""
    """Sheet of an Excel file; empty: the first."""


class RowPlace(NamedTuple):
    """Where a record stands in its file; written ``line 3``."""

    unit: str
    """What is counted: ``line``, ``row`` or ``item``."""
    number: int
    """Number from 1."""

    def __str__(self) -> str:
        return f"{self.unit} {self.number}"


FileRecord = tuple[RowPlace, Mapping[str, Any]]
"""RowPlace, and the values by column."""

Refuse = Callable[[MalformedError], None]
"""Takes the error of one malformed record, which is then left out; or raises it."""

_Reader = Callable[[Path, Sequence[str], TableForm, Refuse], Iterator[FileRecord]]


def raise_refused(error: MalformedError) -> None:
    """Ends the reading at the first malformed record."""
    try:
        raise error
    finally:
        del error  # else the frame keeps the error that keeps the frame, and with it the open file


def records(
    path: Path,
    columns: Sequence[str],
    form: TableForm | None = None,
    refuse: Refuse = raise_refused,
) -> Iterator[FileRecord]:
    """Yields the records of a file; its suffix tells the format.

    Args:
        path: The file.
        columns: Columns to read. A file with a header must have each of them once; JSON records may
            lack some.
        form: How the cells are written; None: the usual form of the format, in UTF-8.
        refuse: Takes the errors of malformed records.

    Raises:
        MalformedError: The content does not match the file's suffix, or a column is missing.
        Unsupported: The format needs a package that is not installed.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise MalformedError(
            f"unknown file type; the name must end in one of {', '.join(_READERS)}"
        )
    return _storable(reader(path, columns, form or TableForm(), refuse), columns, refuse)


def column_names(path: Path, form: TableForm) -> list[str]:
    """Names of the columns in file order; of JSON, those of the first 100 records.

    Raises:
        MalformedError: The content does not match the file's suffix, or there is no header.
        Unsupported: The format needs a package that is not installed.
    """
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _csv_header(path, form)[1]
    if suffix in (".parquet", ".arrow"):
        from mentorgrad.tables.arrow import schema

        return list(schema(path).names)
    if suffix in (".xlsx", ".xlsm"):
        from mentorgrad.tables.excel import header

        return header(path, form.sheet)
    names: dict[str, None] = {}
    first: MalformedError | None = None

    def refuse(error: MalformedError) -> None:
        nonlocal first
        first = first or error.with_traceback(None)  # which would keep the file open

    for _, record in islice(records(path, (), form, refuse), 100):
        names.update(dict.fromkeys(record))
    if first and not names:
        raise first
    return list(names)


def check_columns(found: Sequence[str], columns: Sequence[str], where: RowPlace | str) -> None:
    """Refuses a header that lacks one of the columns, or names it twice."""
    for column in columns:
        if (times := list(found).count(column)) != 1:
            raise MalformedError(
                f"{where}: column {column!r} is {f'there {times} times' if times else 'missing'}"
            )


def _storable(
    found: Iterator[FileRecord], columns: Sequence[str], refuse: Refuse
) -> Iterator[FileRecord]:
    """Refuses texts that cannot be sent or stored, which JSON can escape."""
    for where, record in found:
        texts = ((column, record.get(column)) for column in columns)
        wrong = [name for name, text in texts if isinstance(text, str) and not _can_be_sent(text)]
        if not wrong:
            yield where, record
            continue
        what = "contains a NUL character or half of a surrogate pair"
        refuse(MalformedError(f"{where}: column {wrong[0]!r} {what}"))


def _can_be_sent(text: str) -> bool:
    """Whether UTF-8 can encode the text, and every database can store it."""
    try:
        return "\x00" not in text and (text.isascii() or bool(text.encode()))
    except UnicodeEncodeError:
        return False


def lines(path: Path, encoding: str, refuse: Refuse = raise_refused) -> Iterator[str]:
    """Yields the lines of a text file; UTF-8 may begin with a byte order mark.

    Bytes that are not valid are refused before their line is yielded, where they are surrogates.
    """
    if encoding not in ("utf-8", "utf-8-sig", "cp1252"):
        yield from _decoded_lines(path, encoding)
        return
    with path.open("rb") as file:
        yield from _lines_of(file, encoding, refuse)


def line_records(file: BinaryIO, column: str, refuse: Refuse) -> Iterator[FileRecord]:
    """Yields the lines of an open file in UTF-8 as records of one column.

    Raises:
        MalformedError: A line is too long to be read.
    """
    wrong: list[MalformedError] = []

    def found() -> Iterator[FileRecord]:
        for number, line in enumerate(_lines_of(file, "utf-8", wrong.append), start=1):
            if wrong:
                refuse(wrong.pop())
            else:
                yield RowPlace("line", number), {column: line.rstrip("\r\n")}

    return _storable(found(), [column], refuse)


def _lines_of(file: BinaryIO, encoding: str, refuse: Refuse) -> Iterator[str]:
    """Lines of an open file in UTF-8 or Windows-1252."""
    for number, raw in enumerate(iter(lambda: file.readline(MAX_LINE + 1), b""), start=1):
        if len(raw) > MAX_LINE:
            raise MalformedError(f"line {number}: has more than {MAX_LINE} bytes")
        known = encoding if encoding == "cp1252" else "utf-8"
        codec = "utf-8-sig" if known == "utf-8" and number == 1 else known
        try:
            line = raw.decode(codec)
        except UnicodeDecodeError:
            name = "UTF-8" if known == "utf-8" else known
            refuse(MalformedError(f"line {number}: not valid {name}"))
            line = raw.decode(codec, "surrogateescape")
        yield line


def _decoded_lines(path: Path, encoding: str) -> Iterator[str]:
    """Lines of a file in an encoding whose line ends are not always the byte 0A."""
    number = 1
    # Only line feeds end a line, as in UTF-8; a carriage return may stand in a cell.
    with path.open(encoding=encoding, newline="\n") as file:
        try:
            while line := file.readline(MAX_LINE):
                if len(line) == MAX_LINE and not line.endswith("\n"):
                    raise MalformedError(f"line {number}: has more than {MAX_LINE} characters")
                yield line
                number += 1
        except UnicodeError:
            raise MalformedError(f"line {number} or after it: not valid {encoding}") from None


def _jsonl(
    path: Path, columns: Sequence[str], form: TableForm, refuse: Refuse
) -> Iterator[FileRecord]:
    wrong: list[MalformedError] = []
    for number, line in enumerate(lines(path, form.encoding, wrong.append), start=1):
        where = RowPlace("line", number)
        try:
            if wrong:
                raise wrong.pop()
            found = _json_object(_parsed(line, f"{where}: "), where) if line.strip() else None
        except MalformedError as error:
            refuse(error)
        else:
            yield from (found,) if found else ()


def _json(
    path: Path, columns: Sequence[str], form: TableForm, refuse: Refuse
) -> Iterator[FileRecord]:
    """A JSON array of objects, or JSONL: some data sets name such files ``.json``."""
    if not is_json_array(path, form.encoding):
        yield from _jsonl(path, columns, form, refuse)
        return
    for number, record in enumerate(json_items(path, form.encoding, _object), start=1):
        try:
            found = _json_object(record, RowPlace("item", number))
        except MalformedError as error:
            refuse(error)
        else:
            yield found


def _parsed(text: str, prefix: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        detail = json_problem(error)
    raise MalformedError(f"{prefix}not valid JSON ({detail})")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; the last of two equal names would win in silence."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice[:80]!r} is there twice in one object")
    return found


def _json_object(record: Any, where: RowPlace) -> FileRecord:
    if not isinstance(record, dict):
        raise MalformedError(f"{where}: must be a JSON object")
    return where, record


_CSV_ERRORS = (
    ("unexpected end of data", "a quote that opens here is not closed"),
    ("field larger", f"a cell has more than {MAX_LINE} characters; is a quote not closed?"),
    (
        "new-line character",
        "a carriage return stands outside quotes; end lines with line feeds, and quote such cells",
    ),
)
"""How csv's messages begin, and what they mean to a writer of the file."""


def csv_cells(
    path: Path, form: TableForm, refuse: Refuse = raise_refused
) -> Iterator[tuple[RowPlace, list[str]]]:
    """Yields the cells of each record of a CSV file, the header first, without empty lines."""
    # The limit is one for the whole process, so it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    none = form.quoting is Quoting.NONE
    wrong: list[MalformedError] = []
    reader = csv.reader(
        lines(path, form.encoding, wrong.append),
        strict=True,
        delimiter=form.delimiter or ("\t" if path.suffix.lower() == ".tsv" else ","),
        quoting=csv.QUOTE_NONE if none else csv.QUOTE_MINIMAL,
        doublequote=form.quoting is Quoting.DOUBLED,
        escapechar="\\" if form.quoting is Quoting.BACKSLASH else None,
    )
    cells: list[str] | None = []
    while cells is not None:
        where = RowPlace("line", reader.line_num + 1)
        try:
            cells = next(reader, None)
        except csv.Error as error:
            known = (said for words, said in _CSV_ERRORS if str(error).startswith(words))
            wrong.append(MalformedError(f"{where}: {next(known, error)}"))
        if wrong:
            refuse(wrong.pop(0))
            wrong.clear()
        elif cells:
            yield where, cells


def _csv_header(path: Path, form: TableForm) -> tuple[RowPlace, list[str]]:
    """Where the header is, and its cells; none if the file is empty."""
    return next(csv_cells(path, form), (RowPlace("line", 1), []))


def _csv(
    path: Path, columns: Sequence[str], form: TableForm, refuse: Refuse
) -> Iterator[FileRecord]:
    where, header = _csv_header(path, form)
    check_columns(header, columns, where)
    for where, cells in islice(csv_cells(path, form, refuse), 1, None):
        if len(cells) == len(header):
            yield where, dict(zip(header, cells, strict=True))
            continue
        refuse(
            MalformedError(
                f"{where}: has {len(cells)} cells, but the header has {len(header)} columns; "
                "quote cells that contain the delimiter, a quote or a line end"
            )
        )


def _arrow(
    path: Path, columns: Sequence[str], form: TableForm, refuse: Refuse
) -> Iterator[FileRecord]:
    from mentorgrad.tables.arrow import arrow_rows

    for number, record in enumerate(arrow_rows(path, columns), start=1):
        yield RowPlace("row", number), record


def _excel(
    path: Path, columns: Sequence[str], form: TableForm, refuse: Refuse
) -> Iterator[FileRecord]:
    from mentorgrad.tables.excel import excel_rows

    for number, record in excel_rows(path, columns, form.sheet, refuse):
        yield RowPlace("row", number), record


_READERS: dict[str, _Reader] = {
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".parquet": _arrow,
    ".json": _json,
    ".tsv": _csv,
    ".arrow": _arrow,
    ".xlsx": _excel,
    ".xlsm": _excel,
}

FORMATS = tuple(_READERS)
"""Suffixes of the files that are read."""
