"""The error of every reader of tables."""

from __future__ import annotations

from mentorgrad.errors import Unsupported
from mentorgrad.installed import pip_line


class MalformedError(Exception):
    """The content of a file is malformed; the message says where, but does not name the file."""


def missing_package(what: str, package: str, error: ImportError) -> Unsupported:
    """The error for a format whose package is not installed; names the extra to install."""
    found = Unsupported(f"{what} need {package}; run: {pip_line('tables')}", reason="MISSING_EXTRA")
    found.__cause__ = error
    return found
