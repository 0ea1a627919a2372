"""The figures and sentences of a report as texts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from mentorgrad.domain.experiment import Estimate

DASH = "–"
"""Shown for a missing figure."""


def number(value: float | None, digits: int = 4) -> str:
    """Formats a figure; a dash if it is missing."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{value:.{digits}f}".replace("-", "−")


def signed(value: float) -> str:
    """Formats a difference with its sign."""
    return f"{value:+.4f}".replace("-", "−") if math.isfinite(value) else DASH


def interval(estimate: Estimate | None, text: Callable[[float], str] = number) -> str:
    """Formats a mean with its interval."""
    if estimate is None:
        return DASH
    if not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
        return f"{text(estimate.mean)} (interval unknown)"
    return f"{text(estimate.mean)} ({text(estimate.low)} to {text(estimate.high)})"


def percent(share: float | None) -> str:
    """Formats a fraction as a percentage."""
    return DASH if share is None or not math.isfinite(share) else f"{share:.1%}"


def amount(value: float) -> str:
    """Formats a mean count."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


@dataclass(frozen=True)
class TextPart:
    """A part of a sentence."""

    text: str
    """The part, without backticks."""
    is_name: bool = False
    """Whether it is a name, which stands between backticks."""


def parts_of(text: str) -> tuple[TextPart, ...]:
    """The parts of a sentence; it has no names if a backtick has no partner."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return (TextPart(text),)
    return tuple(TextPart(piece, bool(at % 2)) for at, piece in enumerate(pieces))


def prose(text: str, plain: Callable[[str], str], code: Callable[[str], str]) -> str:
    """Formats a sentence, with names between backticks as code.

    Args:
        text: The sentence.
        plain: Formats the other parts, and a text with a backtick that has no partner.
        code: Formats a name.
    """
    return "".join(code(part.text) if part.is_name else plain(part.text) for part in parts_of(text))
