"""Values of dataclasses as the types that their fields declare.

Users fill them by hand: with numbers of numpy, torch or decimal, with lists for tuples, strings for
enums, and names for what `schema.written_out` says. What stands for the same value is converted,
and anything else is refused by its path, before it reaches the wire or a file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from mentorgrad.errors import InvalidInput, Violation
from mentorgrad.numbers import integer, real
from mentorgrad.schema import (
    ByName,
    FieldKind,
    FieldType,
    evolve,
    field_types,
    join,
    per_class,
    snake_case,
    written_out,
)

T = TypeVar("T")

_Convert = Callable[[Any], Any]
"""Returns the value with the declared type, itself if it has that; raises `_Misfit`."""

_WORDS = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}


class _Misfit(Exception):
    """A value that does not fit; carries the path within it and what it must be."""

    def __init__(self, must: str, path: str = "") -> None:
        super().__init__(must)
        self.must, self.path = must, path

    def within(self, path: str) -> _Misfit:
        """The same misfit in the whole that has the value at `path`."""
        inner = self.path
        whole = path + inner if not inner or inner.startswith("[") else join(path, inner)
        return _Misfit(self.must, whole)


def as_plain(value: T, path: str = "") -> T:
    """Returns a dataclass whose fields have the declared types; `value` itself if they have.

    Raises:
        InvalidInput: A value does not fit.
    """
    try:
        return cast(T, _plain(value))
    except _Misfit as misfit:
        found = misfit.within(path) if path else misfit
        raise InvalidInput(violations=[Violation(found.path, found.must)]) from None


def _plain(value: Any) -> Any:
    changes: dict[str, Any] = {}
    for name, kind, convert in _converters(type(value)):
        member = getattr(value, name)
        if member is None:
            if kind.optional:
                continue
            # On the wire it would be the default: a loss that is not known, the best of all.
            raise _must(_wanted(kind), member).within(name)
        if convert is None:
            continue
        try:
            fitting = convert(member)
        except _Misfit as misfit:
            raise misfit.within(name) from None
        if fitting is not member:
            changes[name] = fitting
    return evolve(value, **changes) if changes else value


@per_class
def _converters(cls: type) -> tuple[tuple[str, FieldType, _Convert | None], ...]:
    """Name and type of each field, and the converter of its value; None: it is left as it is."""
    if not is_dataclass(cls):
        raise _Misfit(f"must be one of mentorgrad's classes, not {cls.__name__}")
    found = []
    for name, kind in field_types(cls).items():
        convert = _converter(kind)
        if convert is not None and kind.repeated:
            convert = _each(convert)
        if convert is not None or not kind.optional:
            found.append((name, kind, convert))
    return tuple(found)


def _wanted(kind: FieldType) -> str:
    """What a field must hold, in words."""
    if kind.repeated:
        return "a list"
    if kind.members:
        return " or ".join(f"a {cls.__name__}" for cls in kind.members)
    if kind.kind in (FieldKind.STRING_MAP, FieldKind.STRUCT):
        return "a mapping"
    return _WORDS.get(kind.base, f"a {kind.base.__name__}")


def _converter(kind: FieldType) -> _Convert | None:
    """The converter of a field's value, or of an item; None: any value is left as it is."""
    if kind.kind is FieldKind.SCALAR:
        return _SCALARS.get(kind.base)
    if kind.kind is FieldKind.ENUM:
        return _enum(kind)
    if kind.kind in (FieldKind.MESSAGE, FieldKind.UNION):
        return _message(kind)
    return {
        FieldKind.DATETIME: _time,
        FieldKind.DURATION: _duration,
        FieldKind.STRUCT: _options,
        FieldKind.STRING_MAP: _string_map,
    }.get(kind.kind)


def _must(what: str, value: Any) -> _Misfit:
    return _Misfit(f"must be {what}, not {type(value).__name__}")


def _integer(value: Any) -> int:
    if type(value) is int:
        return value
    found = integer(value)
    if found is None:
        raise _must(_WORDS[int], value)
    return found


def _number(value: Any) -> float:
    if type(value) is float or type(value) is int:
        return value
    found = real(value)
    if found is None:
        raise _must(_WORDS[float], value)
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _must(_WORDS[str], value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _Misfit("must not contain half of a surrogate pair") from None
    return value if type(value) is str else str(value)


def _truth(value: Any) -> bool:
    if type(value) is bool:
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    raise _must(_WORDS[bool], value)


def _path(value: Any) -> Path:
    if isinstance(value, str):
        return Path(value)
    if isinstance(value, Path):
        return value
    raise _must("a path", value)


_SCALARS: dict[type, _Convert] = {
    int: _integer,
    float: _number,
    str: _text,
    bool: _truth,
    Path: _path,
}


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    seconds = real(value)
    if seconds is None:
        raise _must("a timedelta or a number of seconds", value)
    try:
        return timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        raise _Misfit(f"must be a finite number of seconds, not {seconds}") from None


def _time(value: Any) -> datetime:
    # `NaT` of pandas is an instance of datetime, and differs from itself.
    if not isinstance(value, datetime) or value != value:
        raise _must("a datetime", value)
    if hasattr(value, "to_pydatetime"):  # pandas' own converts only times with a zone
        value = value.to_pydatetime(warn=False)
    time: datetime = value
    try:
        return time if time.tzinfo is not None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Misfit("must be a time between the years 1 and 9999 in UTC") from None


def _enum(kind: FieldType) -> _Convert:
    def convert(value: Any) -> Any:
        if isinstance(value, kind.base):
            return value
        try:
            return kind.base(value)
        except ValueError:
            members = cast(Any, kind.base)
            names = ", ".join(str(member.value) for member in members)
            raise _Misfit(f"must be one of: {names}; not {value!r}"[:500]) from None

    return convert


def _message(kind: FieldType) -> _Convert:
    classes = kind.members or (kind.base,)
    by_name = {snake_case(cls.__name__): cls for cls in classes}

    def convert(value: Any) -> Any:
        if isinstance(value, str) and kind.members:
            if value not in by_name:
                raise _Misfit(f"must be one of: {', '.join(by_name)}; not {value!r}"[:500])
            return by_name[value]()
        if isinstance(value, str) and issubclass(kind.base, ByName):
            return _plain(cast(Any, kind.base)(**written_out(kind, value)))
        if isinstance(value, classes):
            if len(classes) == 1:
                return _plain(value)
            try:
                return _plain(value)
            except _Misfit as misfit:
                raise misfit.within(snake_case(type(value).__name__)) from None
        raise _must(" or ".join(f"a {cls.__name__}" for cls in classes), value)

    return convert


def _each(convert: _Convert) -> _Convert:
    def items(value: Any) -> Any:
        if isinstance(value, (str, bytes)) or not (isinstance(value, Sequence) or _is_array(value)):
            raise _must("a list", value)
        found, same = [], isinstance(value, tuple)
        for index, item in enumerate(value):
            try:
                fitting = convert(item)
            except _Misfit as misfit:
                raise misfit.within(f"[{index}]") from None
            same = same and fitting is item
            found.append(fitting)
        return value if same else tuple(found)

    return items


def _is_array(value: Any) -> bool:
    """Whether it is an array or tensor with at least one dimension."""
    return hasattr(value, "tolist") and getattr(value, "ndim", 0) > 0


def _string_map(value: Any) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise _must("a mapping", value)
    for key, text in value.items():
        try:
            _text(key)
            _text(text)
        except _Misfit as misfit:
            raise misfit.within(f"[{str(key)[:100]!r}]") from None
    return value


def _options(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _must("a mapping", value)
    return cast(Mapping[str, Any], _json(value))


def _json(value: Any) -> Any:
    """A JSON value, with the numbers and lists of other libraries converted."""
    if value is None or type(value) in (bool, int):
        return value
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        found = {_text(key): _inner(key, item) for key, item in value.items()}
        return value if all(found[key] is item for key, item in value.items()) else found
    if isinstance(value, (list, tuple)) or _is_array(value):
        items = [_inner(f"[{index}]", item) for index, item in enumerate(value)]
        is_same = isinstance(value, list) and all(a is b for a, b in zip(items, value, strict=True))
        return value if is_same else items
    if isinstance(value, np.bool_):
        return bool(value)
    number = integer(value)
    found_number = real(value) if number is None else number
    if found_number is None:
        raise _must("a number, text, truth value, list or mapping", value)
    if isinstance(found_number, float) and not math.isfinite(found_number):
        raise _Misfit(f"must be a finite number, not {found_number}")
    return found_number


def _inner(path: str, value: Any) -> Any:
    try:
        return _json(value)
    except _Misfit as misfit:
        raise misfit.within(path) from None
