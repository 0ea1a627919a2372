"""Rows from JSONL, CSV and parquet files under a server's data roots.

Everything that can be wrong with a file is an `InvalidInput` at the field that names it, and says
which line and column. A path that leaves the roots, by ``..``, absolutely or through a symbolic
link, is answered in the same words as one that does not exist.
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
"""Largest file that is read."""
MAX_ROWS = 500_000
"""Most rows of a file."""
MAX_TEXT_CHARACTERS = 100_000
"""Longest text of a row."""
MAX_PARQUET_BYTES = 1024 * 1024 * 1024
"""Most bytes of a parquet file once it is decompressed."""


@dataclass(frozen=True)
class FileReader:
    """Reads the files of one task."""

    columns: DataFiles
    """Names of the columns."""
    labels: tuple[str, ...]
    """Label words, which label columns may hold instead of indices."""
    roots: tuple[Path, ...]
    """Folders that files must lie in."""

    def read(self, name: str, field: str) -> tuple[Row, ...]:
        """All rows of a file.

        Args:
            name: Path relative to one of the roots.
            field: Full path of the field that holds `name`, for example ``spec.task.data.train``.

        Raises:
            InvalidInput: The file is absent, not allowed, too large or malformed.
            Unsupported: Parquet, and pyarrow is not installed.
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
            f"word nor an index from 0 to {len(self.labels) - 1}"
        )


class MalformedError(Exception):
    """A file's content is not what it should be; says where."""


def resolve_data_file(name: str, roots: Sequence[Path], field: str) -> Path:
    """The file that `name` stands for, if it lies in a root once symbolic links are resolved.

    Raises:
        InvalidInput: There is none, it is not a file, it is too large, or it is outside.
    """
    if not roots:
        raise InvalidInput.field(
            field,
            "this server allows no data files; start it with a data root",
            reason="DATA_NOT_ALLOWED",
        )
    for root in roots:
        base = Path(root).expanduser().resolve()
        try:
            path = (base / name).resolve()
            if not path.is_relative_to(base) or not path.is_file():
                continue
            size = path.stat().st_size
        except (OSError, ValueError, RuntimeError):  # NUL, too long a name, a loop of links
            continue
        if size > MAX_FILE_BYTES:
            raise InvalidInput.field(
                field,
                f"{name}: has {size} bytes, more than the {MAX_FILE_BYTES} allowed",
                reason="DATA_TOO_LARGE",
            )
        return path
    raise InvalidInput.field(
        field, f"there is no file {name!r} under this server's data roots", reason="DATA_NOT_FOUND"
    )


_Reader = Callable[[Path, Sequence[str]], Iterator[tuple[str, Mapping[str, Any]]]]


def _text(value: Any, column: str, where: str) -> str:
    if not isinstance(value, str):
        kind = "empty" if value is None else f"a {type(value).__name__}"
        raise MalformedError(f"{where}: column {column!r} must be a text, and is {kind}")
    text = value.strip()
    if not text:
        raise MalformedError(f"{where}: column {column!r} is empty")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise MalformedError(
            f"{where}: column {column!r} has more than {MAX_TEXT_CHARACTERS} characters"
        )
    return text


def records(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Where it stands, and the record, for each record of a JSON, CSV, TSV or parquet file.

    Args:
        path: The file.
        columns: Those that are wanted; others may be left out.

    Raises:
        MalformedError: The file is not what its name says, or lacks a column.
        Unsupported: Parquet, and pyarrow is not installed.
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
        raise MalformedError(f"must end in one of {', '.join(readers)}")
    return reader(path, columns)


def _lines(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 text, with or without a byte order mark."""
    number = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise MalformedError(f"line {number}: is not UTF-8") from None


def _jsonl(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            detail = getattr(error, "msg", "nested too deeply")
            raise MalformedError(f"line {number}: is not JSON ({detail})") from None
        if not isinstance(record, dict):
            raise MalformedError(f"line {number}: must be a JSON object")
        yield f"line {number}", record


def _json(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A list of objects, or in spite of its name one object a line."""
    first = next((line.lstrip() for line in _lines(path) if line.strip()), "")
    if not first.startswith("["):
        yield from _jsonl(path, columns)
        return
    try:
        found = json.loads("".join(_lines(path)))
    except (ValueError, RecursionError) as error:
        detail = getattr(error, "msg", "nested too deeply")
        raise MalformedError(f"is not JSON ({detail})") from None
    for number, record in enumerate(found, start=1):
        if not isinstance(record, dict):
            raise MalformedError(f"item {number}: must be a JSON object")
        yield f"item {number}", record


def _csv(
    path: Path, columns: Sequence[str], delimiter: str = ","
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(_lines(path), strict=True, delimiter=delimiter)
    try:
        for column in columns:
            if column not in (reader.fieldnames or ()):
                raise MalformedError(f"line 1: column {column!r} is missing")
        for record in reader:
            yield f"line {reader.line_num}", record
    except csv.Error as error:  # in the record after the last that was read
        raise MalformedError(f"line {reader.line_num + 1}: {error}") from None


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
            for column in columns:
                if column not in file.schema_arrow.names:
                    raise MalformedError(f"column {column!r} is missing")
            groups = range(file.metadata.num_row_groups)
            size = sum(file.metadata.row_group(index).total_byte_size for index in groups)
            if size > MAX_PARQUET_BYTES:
                raise MalformedError(f"decompresses to more than {MAX_PARQUET_BYTES} bytes")
            number = 0
            for batch in file.iter_batches(batch_size=4096, columns=list(columns)):
                for record in batch.to_pylist():
                    number += 1
                    yield f"row {number}", record
    except pyarrow.ArrowException as error:
        detail = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MalformedError(f"is not a readable parquet file ({detail})") from None
