"""Checks where a command will write, before it does the work whose result is written."""

from __future__ import annotations

import os
from pathlib import Path

from mentorgrad.errors import InvalidInput


def output_file(flag: str, path: Path) -> Path:
    """Returns the path if a file can be written there.

    Raises:
        InvalidInput: It is a folder, its folder does not exist, or writing is not permitted.
    """
    if os.path.isdir(path):
        raise InvalidInput.field(flag, f"{path} is a folder; give the name of a file")
    if not os.path.isdir(path.parent):
        raise InvalidInput.field(
            flag, f"{path} cannot be written: there is no folder {path.parent}"
        )
    _check_permission(flag, path, path if os.path.exists(path) else path.parent)
    return path


def output_folder(flag: str, path: Path) -> Path:
    """Returns the path if it is a folder where files can be written, or can become one.

    Raises:
        InvalidInput: A file is in its place or in that of a folder above it, or writing is not
            permitted.
    """
    there = next((part for part in (path, *path.parents) if os.path.lexists(part)), path)
    if not os.path.isdir(there):
        raise InvalidInput.field(flag, f"{path} cannot be written: {there} is not a folder")
    _check_permission(flag, path, there)
    return path


def _check_permission(flag: str, path: Path, there: Path) -> None:
    if not os.access(there, os.W_OK):
        raise InvalidInput.field(flag, f"{path} cannot be written: no write permission")
