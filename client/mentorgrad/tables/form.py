"""Finds how a text file is written: its encoding, delimiter and quoting.

What fits in two ways is never chosen in silence: the error names both, and the argument that
decides.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from mentorgrad.tables.malformed import MalformedError
from mentorgrad.tables.records import Quoting, TableForm, csv_cells
from mentorgrad.tables.report import DELIMITERS

_CHUNK = 1024 * 1024
_SAMPLE_RECORDS = 200

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks; that of UTF-16 also begins one of UTF-32."""

_OTHER_KINDS = (
    (b"PK\x03\x04", "a zip archive (an Excel workbook? then its name must end in .xlsx)"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook; save it as .xlsx"),
    (b"\x1f\x8b", "compressed by gzip; decompress it"),
    (b"PAR1", "a parquet file; its name must end in .parquet"),
    (b"%PDF", "a PDF document"),
    (b"SQLite format 3", "an SQLite database"),
)

_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_HIGH = re.compile(rb"[\x80-\xff]+")
_LIKE_UTF8 = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}")


@dataclass(frozen=True)
class FoundForm:
    """How a text file is written, and what was concluded rather than known."""

    form: TableForm
    """How its cells are written."""
    remarks: tuple[str, ...] = ()
    """What a reader of the file should know, in words."""


def find_form(
    path: Path, columns: Sequence[str], *, encoding: str, delimiter: str, quoting: str
) -> FoundForm:
    """Finds the form of a CSV, TSV, JSONL or JSON file.

    Args:
        path: The file.
        columns: Columns that its header must have.
        encoding: Encoding; empty: found.
        delimiter: Delimiter of a CSV file; empty: found.
        quoting: A value of `Quoting`; empty: found.

    Raises:
        MalformedError: The file is no text, or its form fits in more than one way.
    """
    found = _encoding(path, encoding)
    if path.suffix.lower() not in (".csv", ".tsv"):
        return found
    form = replace(
        found.form, delimiter=delimiter or _delimiter(path, columns, found.form, quoting)
    )
    if quoting:
        return replace(found, form=replace(form, quoting=Quoting(quoting)))
    chosen, remarks = _quoting(path, form)
    return FoundForm(replace(form, quoting=chosen), (*found.remarks, *remarks))


# -- encoding -----------------------------------------------------------------------------------


def _encoding(path: Path, asked: str) -> FoundForm:
    if asked:
        return FoundForm(TableForm(encoding=_known_encoding(asked)))
    with path.open("rb") as file:
        head = file.read(4096)
    for mark, name in _MARKS:
        if head.startswith(mark):
            return FoundForm(TableForm(encoding=name))
    for mark, kind in _OTHER_KINDS:
        if head.startswith(mark):
            raise MalformedError(f"is {kind}")
    if name := _without_mark(head):
        return FoundForm(TableForm(encoding=name), (f"read as {name.upper()}, without a mark",))
    line = _first_line_that_is_not_utf8(path)
    if line is None:
        return FoundForm(TableForm())
    _require_western_text(path, line)
    return FoundForm(
        TableForm(encoding="cp1252"),
        (f"read as Windows-1252, because line {line} is not UTF-8; --encoding overrides",),
    )


def _known_encoding(name: str) -> str:
    try:
        codec = codecs.lookup(name)
        "".encode(name)  # refuses codecs from bytes to bytes
    except (LookupError, ValueError, TypeError):
        raise MalformedError(
            f"there is no encoding {name!r}; --encoding takes names such as utf-8, utf-16, cp1252, "
            "shift_jis or gb18030"
        ) from None
    return codec.name


def _without_mark(head: bytes) -> str:
    """UTF-16 of mostly Latin letters: every second byte is 0."""
    pairs = len(head) // 2
    if pairs < 2:
        return ""
    even, odd = head[: 2 * pairs : 2].count(0) / pairs, head[1 : 2 * pairs : 2].count(0) / pairs
    if max(even, odd) < 0.4 or min(even, odd) > 0.05:
        return ""
    return "utf-16-le" if odd > even else "utf-16-be"


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(lambda: file.read(_CHUNK), b"")


def _first_line_that_is_not_utf8(path: Path) -> int | None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    for chunk in chain(_chunks(path), (b"",)):
        try:
            decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            return line + chunk[: max(0, error.start)].count(b"\n")
        line += chunk.count(b"\n")
    return None


def _require_western_text(path: Path, line: int) -> None:
    """Refuses bytes that are no text, and texts whose letters are hardly Western European.

    In Windows-1252 every byte stands for a character, so that decoding alone proves nothing. Three
    letters in a row beyond ASCII are rare in Western European texts, and usual in Cyrillic, Greek,
    Chinese or Japanese ones.
    """
    ask = f"line {line} is not UTF-8; name the encoding with --encoding, such as cp1251 or gb18030"
    high = in_runs = like_utf8 = 0
    for chunk in _chunks(path):
        if _CONTROL.search(chunk):
            raise MalformedError(f"line {line}: is not text, but binary data")
        try:
            chunk.decode("cp1252")
        except UnicodeDecodeError:
            raise MalformedError(ask) from None
        like_utf8 += sum(map(len, _LIKE_UTF8.findall(chunk)))
        for run in _HIGH.findall(chunk):
            high += len(run)
            in_runs += len(run) if len(run) > 2 else 0
    if like_utf8 > 0.5 * high:
        raise MalformedError(
            f"line {line} is not UTF-8, but most of the file is; write the line anew, or name the "
            "encoding with --encoding"
        )
    if in_runs > 0.3 * high:
        raise MalformedError(ask)


# -- cells --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Shape:
    """The records of a file, as one form of it reads them."""

    header: tuple[str, ...] = ()
    records: int = 0
    is_even: bool = True
    """Whether all records have as many cells as the header."""
    spans_lines: bool = False
    """Whether a record is longer than a line."""


def _shape(path: Path, form: TableForm, limit: int | None = None) -> _Shape:
    header: tuple[str, ...] = ()
    count = 0
    spans = False
    try:
        for _, cells in islice(csv_cells(path, form), limit):
            header = header or tuple(cells)
            if len(cells) != len(header):
                return _Shape(header, count, is_even=False)
            count += 1
            spans = spans or any("\n" in cell for cell in cells)
    except MalformedError:
        return _Shape(header, count, is_even=False)
    return _Shape(header, count, spans_lines=spans)


def _delimiter(path: Path, columns: Sequence[str], form: TableForm, quoting: str) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    ways = [Quoting(quoting)] if quoting else list(Quoting)

    def shapes(delimiter: str, limit: int) -> list[_Shape]:
        forms = [replace(form, delimiter=delimiter, quoting=way) for way in ways]
        return [_shape(path, form, limit) for form in forms]

    headers = {one: shapes(one, 1)[0].header for one in DELIMITERS}
    fits = [one for one in headers if len(headers[one]) > 1]
    fits = [one for one in fits if set(columns) <= set(headers[one])] or fits
    if len(fits) > 1:
        even = [one for one in fits if any(s.is_even for s in shapes(one, _SAMPLE_RECORDS))]
        fits = even or fits
    if len(fits) > 1:
        raise MalformedError(
            f"line 1: the delimiters {' and '.join(DELIMITERS[one] for one in fits)} both fit; "
            "name one with --delimiter"
        )
    return fits[0] if fits else ","


def _quoting(path: Path, form: TableForm) -> tuple[Quoting, tuple[str, ...]]:
    """The quoting that reads all records, and what to say of it."""
    if not any(b'"' in chunk for chunk in _chunks(path)):
        return Quoting.DOUBLED, ()
    doubled = _shape(path, form)
    if doubled.is_even and not doubled.spans_lines:
        return Quoting.DOUBLED, ()
    plain = _shape(path, replace(form, quoting=Quoting.NONE))
    if doubled.is_even:
        if plain.is_even:
            raise MalformedError(
                f"has {doubled.records - 1} rows if double quotes enclose cells, and "
                f"{plain.records - 1} if they are characters like any other; name one with "
                "--quoting doubled or --quoting none"
            )
        return Quoting.DOUBLED, ()
    if _shape(path, replace(form, quoting=Quoting.BACKSLASH)).is_even:
        return Quoting.BACKSLASH, ("read with a backslash before quotes; --quoting overrides",)
    if plain.is_even:
        return Quoting.NONE, ("read with quotes as plain characters; --quoting overrides",)
    return Quoting.DOUBLED, ()  # reading says which row does not fit
