"""Data files that a client sends to a trainer, and their names in specs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mentorgrad.domain.spec import DataFiles
from mentorgrad.errors import InvalidInput
from mentorgrad.schema import bounded

PREFIX = "upload:"
"""What the name of an uploaded file begins with in a spec; its SHA-256 follows."""

SHA256_PATTERN = r"[0-9a-f]{64}"
"""Regular expression for a SHA-256 digest in hexadecimal."""


@dataclass(frozen=True)
class DataUpload:
    """What a client uploads."""

    suffix: str = bounded("", required=True, max_length=20)
    """How the file's name ends, which tells its format: for example ``.csv``."""
    size_bytes: int = bounded(0, ge=1)
    """Size in bytes."""
    sha256: str = bounded("", pattern=f"({SHA256_PATTERN})?")
    """SHA-256 digest in hexadecimal, which the bytes must have; empty: not compared."""


def upload_name(sha256: str) -> str:
    """Name of an uploaded file in a spec, by its SHA-256."""
    return PREFIX + sha256


def check_size(size: int, limit: int) -> None:
    """Refuses a file that is larger than a trainer takes.

    Args:
        size: Its size in bytes.
        limit: The trainer's limit in bytes.

    Raises:
        InvalidInput: It is too large (reason UPLOAD_TOO_LARGE).
    """
    if size > limit:
        raise InvalidInput.field(
            "upload.size_bytes",
            f"is {size}; must be at most {limit}, the limit of this trainer",
            reason="UPLOAD_TOO_LARGE",
        )


def uploads_of(data: DataFiles | None) -> dict[str, str]:
    """What follows the prefix in the names of a task's files, by field: digests, if the names are
    valid."""
    names = {} if data is None else {f: getattr(data, f) for f in ("train", "selection", "test")}
    return {f: name.removeprefix(PREFIX) for f, name in names.items() if name.startswith(PREFIX)}


def is_digest(text: str) -> bool:
    """Whether a text is a SHA-256 digest in hexadecimal."""
    return re.fullmatch(SHA256_PATTERN, text) is not None
