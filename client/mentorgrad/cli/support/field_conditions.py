"""Parses conditions on fields of runs: ``FIELD=VALUE``, ``FIELD>=NUMBER``, ``FIELD<=NUMBER``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mentorgrad.domain.query import FieldFilter
from mentorgrad.errors import InvalidInput
from mentorgrad.field_limits import violations

_CONDITION = re.compile(r"([^=<>]+)(=|>=|<=)(.*)", re.DOTALL)


def conditions_of(flag: str, items: Sequence[str]) -> tuple[FieldFilter, ...]:
    """The conditions that a flag gives.

    Raises:
        InvalidInput: One is malformed, or names no field of runs; the message names near ones.
    """
    return tuple(_condition(flag, item) for item in items)


def _condition(flag: str, item: str) -> FieldFilter:
    match = _CONDITION.fullmatch(item)
    if match is None:
        said = f"must be FIELD=VALUE, FIELD>=NUMBER or FIELD<=NUMBER, not {item!r}"
        raise InvalidInput.field(flag, said)
    field, operator, value = match[1].strip(), match[2], match[3].strip()
    if operator == "=":
        found = FieldFilter(field, value)
    else:
        bound = _number(flag, item, value)
        low, high = (bound, None) if operator == ">=" else (None, bound)
        found = FieldFilter(field, at_least=low, at_most=high)
    for violation in violations(found):
        raise InvalidInput.field(flag, f"{field!r} {violation.description}")
    return found


def _number(flag: str, item: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidInput.field(flag, f"must compare with a number, not as {item!r}") from None
