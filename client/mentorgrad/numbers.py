"""Numbers of other libraries (numpy, torch, decimal) as Python's own."""

from __future__ import annotations

import math
import operator
from numbers import Number
from typing import Any, TypeVar

import numpy as np

from mentorgrad.errors import InvalidInput

_Found = TypeVar("_Found")


def integer(value: Any) -> int | None:
    """The value as an int if it is one number of an integer type; otherwise None.

    True and False are no numbers, nor are floats without a fraction.
    """
    found = _single(value)
    if type(found) is int:
        return found
    if isinstance(found, (bool, float)) or not hasattr(found, "__index__"):
        return None
    try:
        return operator.index(found)
    except TypeError:
        return None


def real(value: Any) -> float | None:
    """The value as a float if it is one real number; otherwise None."""
    found = _single(value)
    if type(found) is float:
        return found
    if isinstance(found, bool) or not (isinstance(found, Number) and hasattr(found, "__float__")):
        return None
    try:
        return float(found)
    except (TypeError, ValueError, OverflowError):
        return None


def integer_of(field: str, value: Any) -> int:
    """`integer`, of an argument.

    Raises:
        InvalidInput: It is no integer; the violation's field is `field`.
    """
    return _required(field, value, integer(value), "an integer")


def real_of(field: str, value: Any) -> float:
    """`real`, of an argument.

    Raises:
        InvalidInput: It is no number; the violation's field is `field`.
    """
    return _required(field, value, real(value), "a number")


def seconds_of(field: str, value: Any) -> float:
    """`real_of`, of a time in seconds, which must be positive and finite.

    Raises:
        InvalidInput: It is not; the violation's field is `field`.
    """
    seconds = real_of(field, value)
    if not 0.0 < seconds < math.inf:
        raise InvalidInput.field(field, f"must be a finite number above 0, not {seconds}")
    return seconds


def _required(field: str, value: Any, found: _Found | None, what: str) -> _Found:
    if found is None:
        raise InvalidInput.field(field, f"must be {what}, not {type(value).__name__}")
    return found


def _single(value: Any) -> Any:
    """The Python number in an array or tensor of one element, or in a scalar of such a library."""
    if type(value) in (int, float) or not hasattr(value, "item"):
        return value
    if np.ma.is_masked(value):  # its item is a zero that stands for no number
        return None
    try:
        return value.item()
    except (TypeError, ValueError, RuntimeError):  # more than one element, or none
        return None
