"""URLs of run stores; one URL means one file, for the services and for the commands."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from mentorgrad.paths import expanded

_SQLITE = re.compile(r"sqlite(?:\+\w+)?:///([^?\r\n]+)")


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite store, with percent escapes decoded and ``~`` expanded; None for other
    stores.

    Raises:
        InvalidInput: The path begins with ``~``, and there is no home folder.
    """
    match = _SQLITE.match(url)
    return expanded(Path(unquote(match[1])), "store") if match else None
