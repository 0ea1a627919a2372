"""Conversion of dataclasses to and from plain values, for TOML and JSON.

A union of dataclasses is a mapping with one key, the member's name in snake case, as a oneof in
the protos::

    objective = {"function": {"name": "rastrigin"}}

A string may stand for a union's member with default values, or for a task, an optimizer or a mentor
by its name::

    objective = "causal_prompt"
    mentor = "random_tokens"
"""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numpy as np

from mentorgrad.errors import InvalidInput
from mentorgrad.field_limits import check
from mentorgrad.numbers import integer, real
from mentorgrad.schema import (
    FieldKind,
    FieldType,
    base_of,
    field_types,
    join,
    snake_case,
    written_out,
)

T = TypeVar("T")


def from_dict(cls: type[T], data: Mapping[str, Any], path: str = "") -> T:
    """Builds a dataclass from plain values and validates it; missing fields take their defaults.

    Durations are seconds or a string such as ``"90s"``; enums are their values; arrays are nested
    lists, or mappings as `to_dict` writes them.

    Raises:
        InvalidInput: A field is unknown, missing, of the wrong type or out of bounds.
    """
    return check(_build(cls, data, path), path)


def _build(cls: type[T], data: Any, path: str, base: T | None = None) -> T:
    if not isinstance(data, Mapping):
        raise InvalidInput.field(path, f"must be a mapping of fields, not {_type_name(data)}")
    kinds = field_types(cls)
    for name in data:
        if name not in kinds:
            known = ", ".join(kinds)
            raise InvalidInput.field(join(path, str(name)), f"is not known here; known: {known}")
    values = {}
    for field in dataclasses.fields(cast(Any, cls)):
        where = join(path, field.name)
        if field.name in data:
            default = base_of(cast(type, cls), field.name)
            values[field.name] = _build_field(kinds[field.name], data[field.name], where, default)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise InvalidInput.field(where, "is missing")
    return (
        cls(**values) if base is None else cast(T, dataclasses.replace(cast(Any, base), **values))
    )


def _build_field(kind: FieldType, value: Any, path: str, default: Any = None) -> Any:
    if value is None and kind.optional:
        return None
    if kind.repeated:
        if not isinstance(value, (list, tuple)):
            raise InvalidInput.field(path, f"must be a list, not {_type_name(value)}")
        return tuple(_build_item(kind, item, f"{path}[{i}]") for i, item in enumerate(value))
    if default is not None:
        return _build(kind.base, value, path, default)
    return _build_item(kind, value, path)


def _build_item(kind: FieldType, value: Any, path: str) -> Any:
    value = written_out(kind, value)
    if kind.kind is FieldKind.MESSAGE:
        return _build(kind.base, value, path)
    if kind.kind is FieldKind.UNION:
        return _build_union(kind, value, path)
    if kind.kind in (FieldKind.STRUCT, FieldKind.STRING_MAP):
        if not isinstance(value, Mapping):
            raise InvalidInput.field(path, f"must be a mapping, not {_type_name(value)}")
        if kind.kind is FieldKind.STRING_MAP:
            return {str(key): str(item) for key, item in value.items()}
        return dict(value)
    builders = {
        FieldKind.ENUM: _build_enum,
        FieldKind.DATETIME: _build_datetime,
        FieldKind.DURATION: _build_duration,
        FieldKind.ARRAY: _build_array,
        FieldKind.SCALAR: _build_scalar,
    }
    return builders[kind.kind](kind, value, path)


def _build_union(kind: FieldType, value: Any, path: str) -> Any:
    by_name = {snake_case(member.__name__): member for member in kind.members}
    names = ", ".join(by_name)
    if not isinstance(value, Mapping) or len(value) != 1:
        raise InvalidInput.field(path, f"must name exactly one of: {names}")
    name, inner = next(iter(value.items()))
    if name not in by_name:
        raise InvalidInput.field(join(path, str(name)), f"is not known here; known: {names}")
    return _build(by_name[name], inner, join(path, name))


def _build_enum(kind: FieldType, value: Any, path: str) -> Any:
    try:
        return kind.base(value)
    except ValueError:
        names = ", ".join(str(item.value) for item in cast(type[Enum], kind.base))
        raise InvalidInput.field(path, f"must be one of: {names}; not {value!r}") from None


def _build_datetime(kind: FieldType, value: Any, path: str) -> datetime:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise InvalidInput.field(path, f"must be an ISO 8601 time, not {value!r}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _build_duration(kind: FieldType, value: Any, path: str) -> timedelta:
    if isinstance(value, timedelta):
        return value
    text = value.removesuffix("s") if isinstance(value, str) else value
    try:
        return timedelta(seconds=float(text))
    except (TypeError, ValueError, OverflowError):
        raise InvalidInput.field(path, f"must be a number of seconds, not {value!r}") from None


def _build_array(kind: FieldType, value: Any, path: str) -> np.ndarray:
    try:
        if isinstance(value, Mapping):
            raw = base64.b64decode(value["base64"], validate=True)
            array = np.frombuffer(raw, dtype=np.dtype(str(value["dtype"])).newbyteorder("<"))
            return array.reshape([int(n) for n in value["shape"]])
        return np.asarray(value, dtype=np.float32)
    except (KeyError, TypeError, ValueError):
        raise InvalidInput.field(
            path, "must be nested lists of numbers without ragged rows"
        ) from None


def _build_scalar(kind: FieldType, value: Any, path: str) -> Any:
    base = kind.base
    if isinstance(value, Mapping):
        raise InvalidInput.field(path, "is a single value and has no fields")
    if base in (int, float):
        return _build_number(kind, value, path)
    if base is Path and isinstance(value, str):
        return Path(value)
    if base is bytes and isinstance(value, str):
        return base64.b64decode(value)
    if isinstance(value, bool) is not (base is bool) or not isinstance(value, base):
        raise InvalidInput.field(path, f"must be {_type_words[base]}, not {_type_name(value)}")
    return value


def _build_number(kind: FieldType, value: Any, path: str) -> float:
    if kind.base is float and isinstance(value, str) and value in _NOT_FINITE:
        return float(value)
    number = integer(value) if kind.base is int else real(value)
    if number is None:
        said = f"must be {_type_words[kind.base]}, not {_type_name(value)}"
        raise InvalidInput.field(path, said)
    return number


_type_words: dict[type, str] = {
    int: "an integer",
    float: "a number",
    str: "a string",
    bool: "true or false",
    bytes: "bytes in base64",
    Path: "a path",
}


def _type_name(value: Any) -> str:
    return _type_words.get(type(value), type(value).__name__)


_NOT_FINITE = ("NaN", "Infinity", "-Infinity")
"""JSON strings for non-finite numbers, as in protobuf's JSON mapping."""


def _written(number: float) -> float | str:
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else _NOT_FINITE[1 if number > 0 else 2]


def merged(cls: type | None, base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merges plain values of a dataclass, before `from_dict` builds and validates it.

    Nested mappings are merged, other values replaced. A union keeps the fields of its member only
    if the change names the same member.

    Args:
        cls: The dataclass that both describe; None for a free mapping.
        base: Original values; not modified.
        changes: Values that override those of `base`.
    """
    result = dict(base)
    kinds = field_types(cls) if cls is not None else {}
    for name, value in changes.items():
        kind, there = kinds.get(name), cast(Any, result.get(name))
        is_union = kind is not None and kind.kind is FieldKind.UNION
        if kind is not None and not kind.repeated:
            there, value = written_out(kind, there), written_out(kind, value)
        are_tables = isinstance(value, Mapping) and isinstance(there, Mapping)
        if are_tables and not (is_union and value.keys() != there.keys()):
            inner = kind.base if kind is not None and kind.kind is FieldKind.MESSAGE else None
            value = merged(inner, there, value)
        result[name] = value
    return result


def to_dict(value: Any, *, arrays: Literal["list", "omit"] = "list") -> dict[str, Any]:
    """Converts a dataclass to JSON-compatible values; the inverse of `from_dict`.

    Non-finite numbers become the strings ``NaN``, ``Infinity`` and ``-Infinity``. Optional fields
    that are None are omitted, and with ``arrays="omit"`` arrays too.
    """
    result = {}
    for name, kind in field_types(type(value)).items():
        member = getattr(value, name)
        if member is None or (kind.kind is FieldKind.ARRAY and arrays == "omit"):
            continue
        if kind.repeated:
            result[name] = [_plain(item, kind, arrays) for item in member]
        else:
            result[name] = _plain(member, kind, arrays)
    return result


def _plain(item: Any, kind: FieldType, arrays: Literal["list", "omit"]) -> Any:
    if kind.kind is FieldKind.MESSAGE:
        return to_dict(item, arrays=arrays)
    if kind.kind is FieldKind.UNION:
        return {snake_case(type(item).__name__): to_dict(item, arrays=arrays)}
    if kind.kind is FieldKind.ENUM:
        return item.value
    if kind.kind is FieldKind.DATETIME:
        return item.isoformat()
    if kind.kind is FieldKind.DURATION:
        return item.total_seconds()
    if kind.kind is FieldKind.ARRAY:
        raw = np.ascontiguousarray(item, dtype=item.dtype.newbyteorder("<")).tobytes()
        encoded = base64.b64encode(raw).decode()
        return {"dtype": item.dtype.name, "shape": list(item.shape), "base64": encoded}
    if kind.kind in (FieldKind.STRUCT, FieldKind.STRING_MAP):
        return dict(item)
    if isinstance(item, Path):
        return str(item)
    if isinstance(item, bytes):
        return base64.b64encode(item).decode()
    return _written(item) if isinstance(item, float) else item
