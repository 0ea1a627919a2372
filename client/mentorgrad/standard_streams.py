"""Standard output and error of any encoding: output never ends in a traceback."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import re
import sys
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from mentorgrad.outside_text import shown

_UNSAFE = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that JSON may contain raw, but a terminal interprets, or UTF-8 cannot encode."""


def replace_unencodable() -> None:
    """From now on, characters that the streams' encodings lack are replaced."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors="replace")


def json_text(value: Any, default: Callable[[Any], Any] | None = None) -> str:
    """The value as JSON on one line that standard output can encode: what it cannot is escaped.

    Args:
        value: Any JSON value.
        default: Converts other objects; see `json.dumps`.
    """
    text = json.dumps(value, ensure_ascii=not _is_utf8(sys.stdout), default=default)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def rows_output() -> BinaryIO:
    """Standard output for rows in UTF-8; without what a terminal would interpret, if it is one."""
    return cast(BinaryIO, _Terminal()) if sys.stdout.isatty() else sys.stdout.buffer


class _Terminal(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Writes lines of whole characters."""
        text = bytes(data).decode("utf-8", "replace")
        sys.stdout.write("\n".join(map(shown, text.split("\n"))))
        sys.stdout.flush()
        return len(data)


def _is_utf8(stream: Any) -> bool:
    try:
        return codecs.lookup(stream.encoding).name == "utf-8"
    except (AttributeError, LookupError, TypeError):
        return False
