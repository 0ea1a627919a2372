"""Tells the answer of a reasoning model from the reasoning in front of it."""

from __future__ import annotations

import re

UNFINISHED = "cut off while it was reasoning"
"""Why a reply has no answer."""

_NAMES = "think|thinking|thought|reasoning"
_OPENS = re.compile(rf"\s*<(?:{_NAMES})>", re.IGNORECASE)
_CLOSES = re.compile(rf"</(?:{_NAMES})>", re.IGNORECASE)


def as_reasoning(text: str) -> str:
    """Marks a text as reasoning without an answer."""
    return f"<think>\n{text}"


def answer_of(reply: str) -> str | None:
    """The answer of a reply: what stands behind its reasoning, or all of it without any.

    The beginning of the reasoning may be missing, as with chat templates that write it themselves.

    Returns:
        The answer; None: the reply ends within its reasoning.
    """
    *_, last = [None, *_CLOSES.finditer(reply)]
    answer = reply if last is None else reply[last.end() :]
    return None if _OPENS.match(answer) else answer
