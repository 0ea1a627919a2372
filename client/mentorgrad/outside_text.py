"""Text from outside (names, files, other servers) made fit to be shown: without control characters,
which a terminal would interpret, and without secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SECRETS = (
    (re.compile(r"(://[^\s:/@]*):[^\s/]+@"), r"\1:***@"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]+", re.I), r"\1 ***"),
    (re.compile(r"\b(password|token|api[_-]?key|secret)(\s*[=:]\s*)[^\s,;&]+", re.I), r"\1\2***"),
    (re.compile(r"\bsk-[\w*.-]{6,}"), "sk-***"),
)
"""Patterns of secrets, and their replacements."""

_SHORTEST_SECRET = 4
"""A shorter one is no secret, and its letters stand in many words."""


def one_line(text: str) -> str:
    """The text on one line, without control characters, direction marks and lone surrogates."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def shown(text: str) -> str:
    """The text fit for a line of output: as `one_line`, but spaces and tabs are kept."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter == "\t" else " " if letter.isspace() else ""
        for letter in text
    )


def without_secrets(text: str, known: Iterable[str] = ()) -> str:
    """The text with passwords, tokens and keys masked.

    Args:
        text: Any text.
        known: Secrets that this process uses; masked wherever they stand.
    """
    for secret in known:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "***")
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text
