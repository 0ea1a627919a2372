"""Text formats of proposals: written in the examples of questions, read back by `parsing`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mentorgrad.domain.advice import Constraints


@dataclass(frozen=True)
class NumberFormat:
    """Number of digits with which a number is written."""

    whole: int
    """Maximum digits before the decimal point."""
    decimals: int
    """Digits after the decimal point."""

    def write(self, value: float) -> str:
        """Formats a number in decimal notation, never with an exponent."""
        return f"{value:.{self.decimals}f}"


def number_format(constraints: Constraints) -> NumberFormat:
    """Chooses digits by the bounds: about four significant ones, with 1 to 6 decimals."""
    largest = max(abs(constraints.lower), abs(constraints.upper), 1e-6)
    magnitude = math.floor(math.log10(largest)) + 1
    return NumberFormat(whole=max(1, magnitude), decimals=min(6, max(1, 4 - magnitude)))


def text_line(number: int, text: str) -> str:
    """Formats a text proposal as a numbered line."""
    return f"{number}. {text}"


def number_line(number: int, values: Sequence[float], form: NumberFormat) -> str:
    """Formats a proposal of numbers as a numbered line."""
    return f"{number}. " + " ".join(form.write(value) for value in values)


def json_reply(proposals: Sequence[Mapping[str, Any]]) -> str:
    """Formats a complete JSON reply, as `parsing` reads it."""
    return json.dumps({"proposals": list(proposals)}, ensure_ascii=False)
