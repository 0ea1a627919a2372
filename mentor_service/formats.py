"""How proposals are written: used for the examples in questions and read back by `parsing`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mentorgrad.domain.advice import Constraints


@dataclass(frozen=True)
class NumberFormat:
    """How one number is written."""

    whole: int
    """Most digits before the point."""
    decimals: int
    """Digits after the point."""

    def write(self, value: float) -> str:
        """The number in plain digits; never with an exponent."""
        return f"{value:.{self.decimals}f}"


def number_format(constraints: Constraints) -> NumberFormat:
    """Digits that fit the bounds: about four that mean something, within 1 to 6 decimals."""
    largest = max(abs(constraints.lower), abs(constraints.upper), 1e-6)
    magnitude = math.floor(math.log10(largest)) + 1
    return NumberFormat(whole=max(1, magnitude), decimals=min(6, max(1, 4 - magnitude)))


def text_line(number: int, text: str) -> str:
    """A proposal of words as a numbered line."""
    return f"{number}. {text}"


def number_line(number: int, values: Sequence[float], form: NumberFormat) -> str:
    """A proposal of numbers as a numbered line."""
    return f"{number}. " + " ".join(form.write(value) for value in values)


def json_reply(proposals: Sequence[Mapping[str, Any]]) -> str:
    """A whole reply in JSON; the inverse of `parsing.read_json`."""
    return json.dumps({"proposals": list(proposals)}, ensure_ascii=False)
