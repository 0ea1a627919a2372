"""Images of rows, encoded as files hold them. Nothing here decodes one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from mentorgrad.errors import PreconditionFailed
from mentorgrad.tables.malformed import MalformedError
from trainer_service.tasks.opening import open_regular

MAX_IMAGE_BYTES = 64 * 1024 * 1024
"""Maximum size of an encoded image, in bytes."""


@dataclass(frozen=True)
class EncodedImage:
    """An image of a row."""

    name: str
    """What it is called in messages: its path, or its place in a table."""
    sha256: str
    """Hex SHA-256 of its bytes."""
    source: Path | bytes = field(repr=False)
    """Its file, with all links resolved, or its bytes."""

    @classmethod
    def of(cls, source: Path | bytes, name: str) -> Self:
        """Reads an image once, for its digest; a path has all links resolved.

        Raises:
            MalformedError: It is empty or too large, or cannot be read.
        """
        try:
            size = source.stat().st_size if isinstance(source, Path) else len(source)
            if not size:
                raise MalformedError(f"{name}: is empty")
            if size > MAX_IMAGE_BYTES:
                raise MalformedError(f"{name}: has {size} bytes; the limit is {MAX_IMAGE_BYTES}")
            return cls(name, _digest(_content(source)), source)
        except OSError as error:
            raise MalformedError(f"{name}: cannot be read ({error.strerror})") from None

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            PreconditionFailed: The file is gone or was changed (reason DATA_CHANGED).
        """
        try:
            content = _content(self.source)
        except OSError:
            content = b""
        if _digest(content) != self.sha256:
            raise PreconditionFailed(
                f"the image {self.name} was changed while it was used", reason="DATA_CHANGED"
            )
        return content


def image_in(value: Any, where: str, find: Callable[[str], Path | None]) -> EncodedImage:
    """The image of a cell: a path, bytes, or a record of both as Hugging Face data sets have it.

    Args:
        value: The cell; an image is taken as it is.
        where: Its place, for messages.
        find: Path in the cell → the file, or None if there is none that may be read.

    Raises:
        MalformedError: The cell holds no image, or names a file that is not there.
    """
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return EncodedImage.of(value, where)
    if isinstance(value, EncodedImage):
        return value
    if not isinstance(value, str) or not value.strip():
        raise MalformedError(f"{where} holds neither an image nor the path of one")
    path = find(value.strip())
    if path is None:
        raise MalformedError(f"{where}: there is no image {value.strip()!r}")
    return EncodedImage.of(path, value.strip())


def _content(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    with open_regular(source) as file:
        return file.read(MAX_IMAGE_BYTES)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
