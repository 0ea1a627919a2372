"""Parses flag values, and formats errors and suggested commands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from mentorgrad import outside_text
from mentorgrad.cli.support.options import DEFAULT_SERVER
from mentorgrad.errors import InvalidInput, MentorgradError


def pairs_of(flag: str, items: Sequence[str]) -> dict[str, str]:
    """Parses ``NAME=VALUE`` flags to a mapping.

    Raises:
        InvalidInput: An item has no ``=``.
    """
    pairs = {}
    for item in items:
        name, separator, value = item.partition("=")
        if not separator or not name:
            raise InvalidInput.field(flag, f"must be NAME=VALUE, not {item!r}")
        pairs[name] = value
    return pairs


def words_of(flag: str, items: Sequence[str]) -> dict[str, str]:
    """Parses words of labels: ``LABEL=WORD`` flags, or several in one with commas between them.

    Raises:
        InvalidInput: An item has no ``=``, or names a label twice.
    """
    parts = [part for item in items for part in re.split(r",(?=[^,=]*=)", item)]
    words = pairs_of(flag, parts)
    if len(words) < len(parts):
        raise InvalidInput.field(flag, "names a label twice")
    return {label.strip(): word.strip() for label, word in words.items()}


def choice(flag: str, kind: type[Any], text: str) -> Any:
    """The enum member with this value.

    Raises:
        InvalidInput: There is no such member.
    """
    try:
        return kind(text)
    except ValueError:
        names = ", ".join(str(member.value) for member in cast(Any, kind))
        raise InvalidInput.field(flag, f"must be one of: {names}; not {text!r}") from None


def utc(time: datetime | None) -> datetime | None:
    """A time that was given as UTC; None: none was."""
    return None if time is None else time.replace(tzinfo=UTC)


def age(flag: str, text: str) -> timedelta:
    """Parses a duration such as ``90m``, ``36h`` or ``30d``.

    Raises:
        InvalidInput: It has another form, or is too long.
    """
    match = re.fullmatch(r"(\d{1,9})([smhdw])", text.strip())
    if match is None:
        raise InvalidInput.field(flag, f"must be a duration such as 36h or 30d, not {text!r}")
    try:
        return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
    except OverflowError:
        raise InvalidInput.field(flag, f"is too long: {text!r}") from None


def size(flag: str, text: str) -> int:
    """Parses a number of bytes such as ``1000000``, ``500MiB`` or ``1.5GiB``.

    Raises:
        InvalidInput: It has another form.
    """
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?) ?(B|KiB|MiB|GiB|TiB)?", text.strip())
    if match is None:
        raise InvalidInput.field(flag, f"must be a size such as 500MiB or 10GiB, not {text!r}")
    return int(float(match[1]) * _BYTES[match[2] or "B"])


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def suffix(server: str, store: str = "") -> str:
    """The server or store option to append to a suggested command; empty for the default."""
    if store:
        return f" --store {outside_text.without_secrets(store)}"
    return "" if server == DEFAULT_SERVER else f" --server {server}"


def one_line(error: BaseException) -> str:
    """The error message on one line."""
    message = error.message if isinstance(error, MentorgradError) else str(error)
    return outside_text.one_line(message) or type(error).__name__
