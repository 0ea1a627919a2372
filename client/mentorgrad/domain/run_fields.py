"""The fields that lists of runs can be filtered by: their paths, types and values as text.

These are all fields of a spec that hold a single value, the best selection loss, and the figures of
the test. A value that is the spec's default is not recorded for filters: nearly all values of a
run are. A run has the default of a field if nothing is recorded for it.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any, cast

from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import Violation
from mentorgrad.schema import FieldKind, FieldType, field_types, per_class, snake_case

LOSS = "best_selection_loss"
"""Field of the lowest selection loss, which changes while a run is running."""

TEST = ("loss", "accuracy", "macro_f1", "matthews")
"""Figures of a run's test; their fields are ``result.test.NAME``."""

_SPEC = "spec"
_OPTIONS = "spec.mentor.options."
_NEAR = 3
"""Fields that the error for an unknown one names at most."""


@dataclass(frozen=True)
class RunField:
    """One field."""

    base: type
    """Type of its values: bool, int, float, str, or an enum."""
    default: str | None = None
    """The default as text, for which nothing is recorded; None: there is none."""
    within: tuple[tuple[str, str], ...] = ()
    """(field, value) of what a run must have in order to have this field at all."""

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers."""
        return self.base in (int, float)


@dataclass(frozen=True)
class FieldValue:
    """A value that is recorded for filters."""

    field: str
    """Path of the field."""
    text: str
    """The value as text; see `text_of`."""
    number: float | None = None
    """The value, if it is a finite number."""


def text_of(value: Any) -> str:
    """The text by which equal values are found: numbers alike as int and float, durations as
    seconds; empty for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return str(value)


def value_of(field: str, value: Any) -> FieldValue:
    """A value of a field, as it is recorded."""
    number = value.total_seconds() if isinstance(value, timedelta) else value
    is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
    return FieldValue(
        field,
        text_of(value),
        float(number) if is_number and math.isfinite(number) else None,
    )


# -- values of a spec ---------------------------------------------------------------------------


def spec_values(spec: RunSpec) -> Iterator[FieldValue]:
    """The values of a spec that are not the defaults."""
    return _values(spec, _DEFAULT, _SPEC)


def _values(value: Any, default: Any, path: str) -> Iterator[FieldValue]:
    for name, kind in _single(type(value)):
        member, usual = getattr(value, name), getattr(default, name)
        if kind is FieldKind.UNION:
            inner, member_name = f"{path}.{name}", snake_case(type(member).__name__)
            yield FieldValue(inner, member_name)
            yield from _values(member, _usual(type(member)), f"{inner}.{member_name}")
        elif member == usual:  # most parts of most specs
            continue
        elif kind is FieldKind.STRUCT:
            yield from _options(member, f"{path}.{name}")
        elif kind is not FieldKind.MESSAGE:
            yield value_of(f"{path}.{name}", member)
        elif member is not None:
            if usual is None:
                yield FieldValue(f"{path}.{name}", "true")
            yield from _values(member, usual or _usual(type(member)), f"{path}.{name}")


@per_class
def _single(cls: type) -> tuple[tuple[str, FieldKind], ...]:
    """Name and kind of the fields of a class that do not hold a list, or labels."""
    return tuple(
        (name, kind.kind)
        for name, kind in field_types(cls).items()
        if not kind.repeated and kind.kind is not FieldKind.STRING_MAP
    )


def _options(options: Mapping[str, Any], path: str) -> Iterator[FieldValue]:
    for name, value in options.items():
        inner = f"{path}.{name}"
        if isinstance(value, Mapping):
            yield from _options(value, inner)
        elif isinstance(value, (bool, int, float, str)):
            yield value_of(inner, value)


@per_class
def _usual(cls: type) -> Any:
    return cls()


_DEFAULT = RunSpec()


# -- fields -------------------------------------------------------------------------------------


@functools.cache
def known_fields() -> Mapping[str, RunField]:
    """Path → field, without the options of strategies and controls, which are free."""
    figures = {f"result.test.{name}": RunField(float) for name in TEST}
    return {LOSS: RunField(float), **figures, **dict(_fields(_DEFAULT, _SPEC, ()))}


def _fields(
    default: Any, path: str, within: tuple[tuple[str, str], ...]
) -> Iterator[tuple[str, RunField]]:
    for name, kind in field_types(type(default)).items():
        usual, inner = getattr(default, name), f"{path}.{name}"
        if kind.repeated or kind.kind in (FieldKind.STRING_MAP, FieldKind.STRUCT):
            continue
        if kind.kind is FieldKind.UNION:
            yield inner, RunField(str)
            for cls in kind.members:
                member = snake_case(cls.__name__)
                yield from _fields(_usual(cls), f"{inner}.{member}", (*within, (inner, member)))
        elif kind.kind is not FieldKind.MESSAGE:
            yield inner, RunField(_base(kind), text_of(usual), within)
        elif usual is not None:
            yield from _fields(usual, inner, within)
        else:
            yield inner, RunField(bool, "false", within)
            yield from _fields(_usual(kind.base), inner, (*within, (inner, "true")))


def _base(kind: FieldType) -> type:
    return float if kind.kind is FieldKind.DURATION else kind.base


def field_of(path: str) -> RunField | None:
    """The field with this path; None: there is none."""
    if path.startswith(_OPTIONS) and len(path) > len(_OPTIONS):
        return RunField(str)
    return known_fields().get(path)


# -- conditions ---------------------------------------------------------------------------------


def condition_violations(
    path: str, equals: str | None, at_least: float | None, at_most: float | None
) -> Iterator[Violation]:
    """What is wrong with a condition on a field, with paths relative to the condition."""
    field, is_range = field_of(path), at_least is not None or at_most is not None
    if field is None:
        yield Violation("field", f"is not a field that runs are filtered by{_meant(path)}")
    elif equals is None and not is_range:
        yield Violation("", "must have `equals`, `at_least` or `at_most`")
    elif equals is not None and is_range:
        yield Violation("equals", "cannot be combined with a range")
    elif is_range and not field.is_number and not path.startswith(_OPTIONS):
        name = "at_least" if at_least is not None else "at_most"
        yield Violation(name, f"requires a field with numbers; {path} has none")
    elif equals is not None and canonical(path, equals) is None:
        yield Violation("equals", f"must be {_must(field)}, not {equals[:80]!r}")


def canonical(path: str, text: str) -> str | None:
    """A value of a field in the form in which values are recorded; None: it cannot be one."""
    field = known_fields().get(path)
    if field is None:  # options: any text
        number = _number(text)
        return text if number is None else text_of(number)
    if text == "" and field.default == "":
        return ""
    if field.is_number:
        found = _number(text)
        return None if found is None else text_of(found)
    if field.base is bool:
        return text.lower() if text.lower() in ("true", "false") else None
    if issubclass(field.base, Enum):
        return text if text in {item.value for item in field.base} else None
    return text


def _number(text: str) -> float | None:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _must(field: RunField) -> str:
    if field.is_number:
        return "a number"
    if field.base is bool:
        return "true or false"
    return "one of: " + ", ".join(str(item.value) for item in cast(type[Enum], field.base))


def _words(path: str) -> set[str]:
    return set(re.findall("[a-z0-9]+", path.lower()))


def _meant(path: str) -> str:
    """The known fields that come nearest, in words."""
    names = known_fields()
    last, words = path.rpartition(".")[2], _words(path)
    near = [name for name in names if name.rpartition(".")[2] == last]
    near = near or [name for name in names if words and words <= _words(name)]
    near.sort(key=lambda name: difflib.SequenceMatcher(None, path, name).ratio(), reverse=True)
    near = near or difflib.get_close_matches(path, names, _NEAR, 0.7)
    near = near or difflib.get_close_matches(f"{_SPEC}.{path}", names, _NEAR)
    return f"; did you mean {', '.join(near[:_NEAR])}?" if near else ""
