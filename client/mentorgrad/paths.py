"""Paths as people write them."""

from __future__ import annotations

from pathlib import Path

from mentorgrad.errors import InvalidInput


def expanded(path: Path, field: str) -> Path:
    """The path with ``~`` or ``~user`` at its beginning expanded, as a shell does.

    Raises:
        InvalidInput: There is no such home folder; the violation's field is `field`.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise InvalidInput.field(
            field, f"{path}: there is no home folder; give the path without ~"
        ) from None
