"""Reads rows from data files under the server's data roots; `mentorgrad.tables` reads the records.

Rows are texts, or images: those that a column names, or those of a folder with one folder per
class.

Every problem with a file raises `InvalidInput` for the field that names the file; the message says
which line and column. A row that does not fit the columns is refused, never read shifted or cut. A
path that leaves the roots (through ``..``, an absolute path or a symbolic link) gets the same
message as a file that does not exist, also if it does so only after it was found (see `opening`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from mentorgrad.dataset_refs import IMAGE_SUFFIXES
from mentorgrad.domain.spec import DataFiles
from mentorgrad.errors import InvalidInput, NotFound
from mentorgrad.tables.malformed import MalformedError
from mentorgrad.tables.records import RowPlace, records
from mentorgrad.tables.values import MAX_TEXT_CHARACTERS, LabelValues, choices_text
from mentorgrad.uploads import PREFIX, is_digest
from trainer_service.tasks.data import Row
from trainer_service.tasks.images import EncodedImage, image_in
from trainer_service.tasks.opening import pinned
from trainer_service.tasks.uploaded import OpenUpload

MAX_FILE_BYTES = 256 * 1024 * 1024
"""Maximum file size, in bytes."""
MAX_ROWS = 500_000
"""Maximum rows per file."""


@dataclass(frozen=True)
class FileReader:
    """Reads the files of one task."""

    columns: DataFiles
    """The task's files and column names."""
    labels: tuple[str, ...]
    """Label words; without `values`, a label column may hold these instead of indices."""
    roots: tuple[Path, ...]
    """Data roots: folders that may be read."""
    values: LabelValues | None = None
    """What the label column holds; None: indices or label words."""
    uploads: OpenUpload | None = None
    """Opens uploaded files; None: there are none."""

    def read(self, name: str, field: str) -> tuple[Row, ...]:
        """Reads all rows of a file, or of a folder that holds one folder of images per class.

        Args:
            name: Path relative to one of the roots, or ``upload:SHA256``.
            field: Full path of the field that holds `name`, for example ``spec.task.data.train``.

        Raises:
            InvalidInput: The file is missing, not allowed, too large or malformed.
            Unsupported: The file is parquet and pyarrow is not installed.
        """
        rows: list[Row] = []
        try:
            with self._found(name, field) as path:
                for row in self._rows(path, name):
                    rows.append(row)
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

    def _found(self, name: str, field: str) -> AbstractContextManager[Path]:
        """The file, for the time that it is read."""
        if not name.startswith(PREFIX):
            path = resolve_data_file(name, self.roots, field, self._is_readable)
            return nullcontext(path) if path.is_dir() else pinned(path)
        sha256 = name.removeprefix(PREFIX)
        if not is_digest(sha256):
            raise InvalidInput.field(
                field, f"must be {PREFIX} and a SHA-256 of 64 lower-case hexadecimal digits"
            )
        if self.uploads is None:
            raise InvalidInput.field(field, "there are no uploads here", reason="DATA_NOT_ALLOWED")
        return self._uploaded(self.uploads, sha256, field)

    @contextmanager
    def _uploaded(self, opened: OpenUpload, sha256: str, field: str) -> Iterator[Path]:
        try:
            with opened(sha256) as path:
                yield path
        except NotFound as error:
            raise InvalidInput.field(field, error.message, reason=error.reason) from None

    def _is_readable(self, path: Path) -> bool:
        """Whether it is a regular file, or a folder that holds the folder of a class: what other
        folders hold is not told."""
        return path.is_file() or any(
            self._index(inside.name, "folder", RowPlace("folder", 0)) is not None
            for inside in (_entries(path) if path.is_dir() else ())
            if inside.is_dir()
        )

    def _needed(self) -> tuple[str, ...]:
        read = self.columns
        if read.image_field:
            return read.image_field, read.label_field
        names = (read.text_field, read.pair_field, *read.choice_fields, read.label_field)
        return tuple(name for name in names if name)

    def _rows(self, path: Path, name: str) -> Iterator[Row]:
        if path.is_dir():
            yield from self._folder_rows(path, name)
            return
        for where, record in records(path, self._needed()):
            yield self._row(record, where, name)

    def _folder_rows(self, folder: Path, name: str) -> Iterator[Row]:
        """The images of each class's folder, in the order of their names."""
        for number, entry in enumerate(_entries(folder), start=1):
            place = RowPlace("folder", number)
            label = self._index(entry.name, "folder", place)
            inside = find_data_path(f"{name}/{entry.name}", self.roots, Path.is_dir)
            if label is None or inside is None:
                raise MalformedError(f"{entry.name!r} is not the folder of one of the labels")
            for file in _entries(inside):
                image = f"{entry.name}/{file.name}"
                if file.suffix.lower() not in IMAGE_SUFFIXES:
                    known = ", ".join(IMAGE_SUFFIXES)
                    raise MalformedError(f"{image!r} is no image; its name must end in {known}")
                yield Row.of(self._image(image, place, name), label)

    def _image(self, value: Any, where: object, folder: str) -> EncodedImage:
        """An image of a cell, whose paths are relative to a folder within the roots."""

        def find(path: str) -> Path | None:
            return find_data_path(str(PurePath(folder) / path), self.roots, Path.is_file)

        return image_in(value, f"{where}", find)

    def _row(self, record: Mapping[str, Any], where: RowPlace, table: str) -> Row:
        for column in self._needed():
            if column not in record:
                raise MalformedError(f"{where}: column {column!r} is missing")
        if column := self.columns.image_field:
            place, folder = f"{where}: column {column!r}", str(PurePath(table).parent)
            image = self._image(record[column], place, folder)
            return Row.of(image, self._label(record[self.columns.label_field], where))
        pair, choices = self.columns.pair_field, self.columns.choice_fields
        return Row(
            text=_text(record[self.columns.text_field], self.columns.text_field, where),
            pair=_text(record[pair], pair, where)
            if pair
            else choices_text(_text(record[name], name, where) for name in choices),
            label=self._label(record[self.columns.label_field], where),
        )

    def _label(self, value: Any, where: RowPlace) -> int:
        column = self.columns.label_field
        index = self._index(value, column, where)
        if index is not None:
            return index
        said = f"{where}: column {column!r}: {str(value)[:80]!r} is"
        if self.values is not None:
            raise MalformedError(f"{said} none of the label values")
        raise MalformedError(
            f"{said} neither a label word nor a class index from 0 to {len(self.labels) - 1}"
        )

    def _index(self, value: Any, column: str, where: RowPlace) -> int | None:
        """Class index of a label; None if it is none."""
        if self.values is not None:
            return self.values.index_of(value, column, where)
        if isinstance(value, str):
            word = value.strip()
            if word in self.labels:
                return self.labels.index(word)
            value = int(word) if word.isascii() and word.isdecimal() else value
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(self.labels):
            return value
        return None


def _entries(folder: Path) -> list[Path]:
    """What a folder holds, in the order of names; without hidden files."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def find_data_path(
    name: str, roots: Sequence[Path], is_wanted: Callable[[Path], bool]
) -> Path | None:
    """Finds `name` in the data roots, after resolving symbolic links; None if no root holds it.

    Args:
        name: Path relative to one of the roots.
        roots: The data roots; what is outside of them is not found.
        is_wanted: Whether a path is of the right kind, such as a regular file.
    """
    for root in roots:
        base = Path(root).expanduser().resolve()
        try:
            path = (base / name).resolve()
            if path.is_relative_to(base) and is_wanted(path):
                return path
        except (OSError, ValueError, RuntimeError):  # NUL byte, name too long, loop of links
            continue
    return None


def resolve_data_file(
    name: str, roots: Sequence[Path], field: str, is_wanted: Callable[[Path], bool]
) -> Path:
    """Finds the data `name`; see `find_data_path`.

    Raises:
        InvalidInput: It does not exist, is outside the roots, is of another kind or is too large;
            or the server has no data roots.
    """
    if not roots:
        raise InvalidInput.field(
            field,
            "this server has no data roots, so it reads no data files; start it with a data root",
            reason="DATA_NOT_ALLOWED",
        )
    path = find_data_path(name, roots, is_wanted)
    if path is None:
        folder = "" if PurePath(name).suffix else ", nor a folder with folders named as labels are"
        raise InvalidInput.field(
            field,
            f"there is no file {name!r} under this server's data roots{folder}",
            reason="DATA_NOT_FOUND",
        )
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise InvalidInput.field(
            field,
            f"{name}: has {size} bytes; the limit is {MAX_FILE_BYTES}",
            reason="DATA_TOO_LARGE",
        )
    return path


def _text(value: Any, column: str, where: RowPlace) -> str:
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
