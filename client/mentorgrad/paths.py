"""Paths as people write them."""

from __future__ import annotations

import os
import tempfile
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


def state_folder() -> Path | None:
    """``$XDG_STATE_HOME/mentorgrad``, by default ``~/.local/state/mentorgrad``: what commands
    remember for later ones. None without a home folder. It need not exist."""
    try:
        base = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    except RuntimeError:
        return None
    return base / "mentorgrad"


def tasks_folder() -> Path | None:
    """``$XDG_DATA_HOME/mentorgrad/tasks``, by default ``~/.local/share/mentorgrad/tasks``: where
    `mentorgrad tasks import` puts tasks. None without a home folder. It need not exist."""
    try:
        base = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser()
    except RuntimeError:
        return None
    return base / "mentorgrad" / "tasks"


def check_temporary_folder() -> None:
    """Checks that there is a folder for temporary files, which torch's libraries cannot do without.

    Raises:
        InvalidInput: None of the usual folders can be written.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        raise InvalidInput.field(
            "TMPDIR", "must name a folder that can be written, for temporary files"
        ) from None
