"""Reads rows from JSONL, JSON, CSV, TSV and parquet files under the server's data roots.

Every problem with a file raises `InvalidInput` for the field that names the file; the message says
which line and column. A row that does not fit the columns is refused, never read shifted or cut. A
path that leaves the roots (through ``..``, an absolute path or a symbolic
link) gets the same message as a file that does not exist.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mentorgrad.domain.spec import DataFiles
from mentorgrad.errors import InvalidInput, Unsupported
from trainer_service.tasks.data import Row

MAX_FILE_BYTES = 256 * 1024 * 1024
"""Maximum file size, in bytes."""
MAX_ROWS = 500_000
"""Maximum rows per file."""
MAX_TEXT_CHARACTERS = 100_000
"""Maximum length of a text, in characters."""
MAX_PARQUET_BYTES = 1024 * 1024 * 1024
"""Maximum decompressed size of a parquet file, in bytes."""


@dataclass(frozen=True)
class FileReader:
    """Reads the files of one task."""

    columns: DataFiles
    """The task's files and column names."""
    labels: tuple[str, ...]
    """Label words; a label column may hold these instead of indices."""
    roots: tuple[Path, ...]
    """Data roots: folders that may be read."""

    def read(self, name: str, field: str) -> tuple[Row, ...]:
        """Reads all rows of a file.

        Args:
            name: Path relative to one of the roots.
            field: Full path of the field that holds `name`, for example ``spec.task.data.train``.

        Raises:
            InvalidInput: The file is missing, not allowed, too large or malformed.
            Unsupported: The file is parquet and pyarrow is not installed.
        """
        path = resolve_data_file(name, self.roots, field)
        rows: list[Row] = []
        try:
            for where, record in records(path, self._needed()):
                rows.append(self._row(record, where))
                if len(rows) > MAX_ROWS:
                    raise MalformedError(f"has more than {MAX_ROWS} rows")
        except MalformedError as error:
            raise InvalidInput.field(field, f"{name}: {error}", reason="DATA_MALFORMED") from None
        except OSError as error:
            detail = error.strerror or type(error).__name__
            raise InvalidInput.field(
                field, f"{name}: cannot be read ({detail})", reason="DATA_NOT_FOUND"
            ) from None
        if not rows:
            raise InvalidInput.field(field, f"{name}: has no rows", reason="DATA_MALFORMED")
        return tuple(rows)

    def _needed(self) -> tuple[str, ...]:
        names = (self.columns.text_field, self.columns.pair_field, self.columns.label_field)
        return tuple(name for name in names if name)

    def _row(self, record: Mapping[str, Any], where: str) -> Row:
        for column in self._needed():
            if column not in record:
                raise MalformedError(f"{where}: column {column!r} is missing")
        pair = self.columns.pair_field
        return Row(
            text=_text(record[self.columns.text_field], self.columns.text_field, where),
            pair=_text(record[pair], pair, where) if pair else "",
            label=self._label(record[self.columns.label_field], where),
        )

    def _label(self, value: Any, where: str) -> int:
        if isinstance(value, str):
            word = value.strip()
            if word in self.labels:
                return self.labels.index(word)
            value = int(word) if word.isascii() and word.isdecimal() else value
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(self.labels):
            return value
        raise MalformedError(
            f"{where}: column {self.columns.label_field!r}: {str(value)[:80]!r} is neither a label "
            f"word nor a class index from 0 to {len(self.labels) - 1}"
        )


class MalformedError(Exception):
    """The content of a file is malformed; the message says where."""


def resolve_data_file(name: str, roots: Sequence[Path], field: str) -> Path:
    """Finds the file `name` in the data roots, after resolving symbolic links.

    Raises:
        InvalidInput: The file does not exist, is outside the roots, is not a regular file or is too
            large; or the server has no data roots.
    """
    if not roots:
        raise InvalidInput.field(
            field,
            "this server has no data roots, so it reads no data files; start it with a data root",
            reason="DATA_NOT_ALLOWED",
        )
    for root in roots:
        base = Path(root).expanduser().resolve()
        try:
            path = (base / name).resolve()
            if not path.is_relative_to(base) or not path.is_file():
                continue
            size = path.stat().st_size
        except (OSError, ValueError, RuntimeError):  # NUL byte, name too long, loop of links
            continue
        if size > MAX_FILE_BYTES:
            raise InvalidInput.field(
                field,
                f"{name}: has {size} bytes; the limit is {MAX_FILE_BYTES}",
                reason="DATA_TOO_LARGE",
            )
        return path
    raise InvalidInput.field(
        field, f"there is no file {name!r} under this server's data roots", reason="DATA_NOT_FOUND"
    )


_Reader = Callable[[Path, Sequence[str]], Iterator[tuple[str, Mapping[str, Any]]]]


def _text(value: Any, column: str, where: str) -> str:
    if not isinstance(value, str):
        kind = "no value" if value is None else type(value).__name__
        raise MalformedError(f"{where}: column {column!r} must be a string, got {kind}")
    text = value.strip()
    if not text:
        raise MalformedError(f"{where}: column {column!r} is empty")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise MalformedError(
            f"{where}: column {column!r} has more than {MAX_TEXT_CHARACTERS} characters"
        )
    return text


def records(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields (position, record) for each record of a JSONL, JSON, CSV, TSV or parquet file.

    A position is text for error messages, such as ``line 3``.

    Args:
        path: The file.
        columns: Columns to read; the records may lack others.

    Raises:
        MalformedError: The content does not match the file's suffix, or a column is missing.
        Unsupported: The file is parquet and pyarrow is not installed.
    """
    readers: dict[str, _Reader] = {
        ".jsonl": _jsonl,
        ".csv": _csv,
        ".parquet": _parquet,
        ".json": _json,
        ".tsv": partial(_csv, delimiter="\t"),
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise MalformedError(f"unknown file type; the name must end in one of {', '.join(readers)}")
    return _storable(reader(path, columns), columns)


def _storable(
    found: Iterator[tuple[str, Mapping[str, Any]]], columns: Sequence[str]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Refuses texts that cannot be sent or stored, which JSON can escape."""
    for where, record in found:
        for column in columns:
            value = record.get(column)
            if isinstance(value, str) and not _can_be_sent(value):
                raise MalformedError(
                    f"{where}: column {column!r} contains a NUL character or half of a surrogate "
                    "pair"
                )
        yield where, record


def _can_be_sent(text: str) -> bool:
    """Whether UTF-8 can encode the text, and every database can store it."""
    try:
        return "\x00" not in text and (text.isascii() or bool(text.encode()))
    except UnicodeEncodeError:
        return False


def _lines(path: Path) -> Iterator[str]:
    """Yields the lines of a UTF-8 file, with or without a byte order mark."""
    number = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise MalformedError(f"line {number}: not valid UTF-8") from None


def _jsonl(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        yield _json_object(_parsed(line, f"line {number}: "), f"line {number}")


def _json(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A JSON array of objects, or JSONL: some data sets name such files ``.json``."""
    first = next((line.lstrip() for line in _lines(path) if line.strip()), "")
    if not first.startswith("["):
        yield from _jsonl(path, columns)
        return
    for number, record in enumerate(_parsed("".join(_lines(path)), ""), start=1):
        yield _json_object(record, f"item {number}")


def _parsed(text: str, prefix: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        detail = "nested too deeply"
    except ValueError as error:  # also of numbers with thousands of digits
        detail = getattr(error, "msg", str(error).partition(";")[0])
    raise MalformedError(f"{prefix}not valid JSON ({detail})")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; the last of two equal names would win in silence."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice[:80]!r} is there twice in one object")
    return found


def _json_object(record: Any, where: str) -> tuple[str, Mapping[str, Any]]:
    if not isinstance(record, dict):
        raise MalformedError(f"{where}: must be a JSON object")
    return where, record


def _csv(
    path: Path, columns: Sequence[str], delimiter: str = ","
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    reader = csv.reader(_lines(path), strict=True, delimiter=delimiter)
    start = 1
    header: list[str] = []
    try:
        for cells in reader:
            where, start = f"line {start}", reader.line_num + 1
            if not cells:
                continue  # an empty line
            if not header:
                header = cells
                _check_columns(header, columns, where)
            elif len(cells) != len(header):
                raise MalformedError(
                    f"{where}: has {len(cells)} cells, but the header has {len(header)} columns; "
                    "quote cells that contain the delimiter, a quote or a line end"
                )
            else:
                yield where, dict(zip(header, cells, strict=True))
    except csv.Error as error:  # in the record after the last one read
        raise MalformedError(f"line {start}: {error}") from None
    if not header:
        _check_columns(header, columns, "line 1")


def _check_columns(found: Sequence[str], columns: Sequence[str], where: str) -> None:
    for column in columns:
        if (times := list(found).count(column)) != 1:
            raise MalformedError(
                f"{where}: column {column!r} is {f'there {times} times' if times else 'missing'}"
            )


def _parquet(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise Unsupported(
            "parquet files need pyarrow; run: pip install 'mentorgrad[trainer]'",
            reason="MISSING_EXTRA",
        ) from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            _check_columns(file.schema_arrow.names, columns, "schema")
            groups = range(file.metadata.num_row_groups)
            size = sum(file.metadata.row_group(index).total_byte_size for index in groups)
            if size > MAX_PARQUET_BYTES:
                raise MalformedError(f"decompresses to more than {MAX_PARQUET_BYTES} bytes")
            number = 0
            for batch in file.iter_batches(batch_size=4096, columns=list(columns)):
                for record in batch.to_pylist():
                    number += 1
                    yield f"row {number}", record
    except (pyarrow.ArrowException, ValueError) as error:  # such as text that is not UTF-8
        detail = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MalformedError(f"not a readable parquet file ({detail})") from None
