"""Frozen dataclasses that validate themselves, and their way to and from plain dictionaries.

A dataclass states the limits of a field beside the field::

    @dataclass(frozen=True)
    class Stages:
        steps: int = bounded(40, ge=1, le=100_000)

`violations` walks a whole tree of such dataclasses and names every wrong field by its full path;
`from_dict` builds the tree from TOML or JSON; `to_dict` is its inverse. A union of dataclasses is
written as a mapping with one key, the member's name in snake case, as the protos' oneofs are::

    objective = {"function": {"name": "rastrigin"}}
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import itertools
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Literal, TypeVar, cast

import numpy as np

from mentorgrad.errors import InvalidInput, Violation

T = TypeVar("T")
C = TypeVar("C")
R = TypeVar("R")

MAX_TEXT = 2_000
"""Longest string accepted in a field that states no limit of its own, in characters."""

MAX_RECORDED_TEXT = 100_000
"""Longest words of a run's records, in characters."""


MAX_VIOLATIONS = 100
"""Most broken limits that are named at once: a large input may have as many as it has entries."""


@dataclass(frozen=True)
class Bounds:
    """The limits of one field."""

    gt: float | None = None
    """Exclusive lower bound of a number (of seconds, for a duration)."""
    ge: float | None = None
    """Inclusive lower bound of a number (of seconds, for a duration)."""
    le: float | None = None
    """Inclusive upper bound of a number (of seconds, for a duration)."""
    max_length: int | None = None
    """Most characters of a string, or items of a sequence or mapping."""
    pattern: str | None = None
    """Regular expression that a string must match from end to end."""
    required: bool = False
    """Whether the empty string or sequence is refused."""
    finite: bool = True
    """Whether NaN and infinities are refused; not so in records, where a loss may diverge."""
    verbatim: bool = False
    """Whether NUL characters are taken: some tokenizers have a token of one."""

    def range_text(self) -> str:
        """The numeric limits in words, for messages and the reference."""
        parts = []
        if self.gt is not None:
            parts.append(f"greater than {self.gt:g}")
        if self.ge is not None:
            parts.append(f"at least {self.ge:g}")
        if self.le is not None:
            parts.append(f"at most {self.le:g}")
        return " and ".join(parts)


def bounded(
    default: Any = dataclasses.MISSING, *, factory: Any = dataclasses.MISSING, **limits: Any
) -> Any:
    """A dataclass field with a default (or the factory of one) and `Bounds`."""
    return dataclasses.field(
        default=default, default_factory=factory, metadata={"bounds": Bounds(**limits)}
    )


def recorded(default: str = "", *, max_length: int = MAX_RECORDED_TEXT) -> Any:
    """A field for text that is kept as it came; a record must never be refused when read again."""
    return bounded(default, max_length=max_length, verbatim=True)


def figure(default: Any = 0.0) -> Any:
    """A field for a measured number, which is NaN or infinite where the computation diverged."""
    return bounded(default, finite=False)


class Validated:
    """Base of dataclasses that have rules beyond the limits of single fields."""

    def cross_violations(self, path: str) -> Iterator[Violation]:
        """Rules between fields; override. `path` is where this object stands."""
        yield from ()


class Kind(Enum):
    """How a field's type is written, in dictionaries and on the wire."""

    SCALAR = "scalar"
    ENUM = "enum"
    DATETIME = "datetime"
    DURATION = "duration"
    ARRAY = "array"
    STRUCT = "struct"
    STRING_MAP = "string map"
    MESSAGE = "message"
    UNION = "union"


@dataclass(frozen=True)
class FieldType:
    """A field's annotation, taken apart once."""

    kind: Kind
    base: type
    """The element's class; for a union, `object`."""
    optional: bool = False
    repeated: bool = False
    members: tuple[type, ...] = ()
    """The dataclasses of a union."""


@functools.lru_cache(1024)
def snake_case(name: str) -> str:
    """``LabelPrompt`` → ``label_prompt``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def join(path: str, name: str) -> str:
    """The path of a member."""
    return f"{path}.{name}" if path else name


def evolve(value: T, **changes: Any) -> T:
    """`dataclasses.replace` where it is done for every event: four times as fast, by leaving the
    constructor out; for dataclasses that compute nothing there."""
    made = object.__new__(type(value))
    fields = vars(made)
    fields |= vars(value)
    fields |= changes
    return made


def per_class(function: Callable[[type[C]], R]) -> Callable[[type[C]], R]:
    """Remembers a function's result for each class it was called with."""
    return cast(Callable[[type[C]], R], functools.cache(function))


def _classify(annotation: Any) -> FieldType:
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        members = [arg for arg in typing.get_args(annotation) if arg is not type(None)]
        optional = len(members) < len(typing.get_args(annotation))
        if len(members) == 1:
            return dataclasses.replace(_classify(members[0]), optional=optional)
        return FieldType(Kind.UNION, object, optional=optional, members=tuple(members))
    if origin is tuple:
        return dataclasses.replace(_classify(typing.get_args(annotation)[0]), repeated=True)
    if origin is not None and issubclass(origin, Mapping):
        value = typing.get_args(annotation)[1]
        return FieldType(Kind.STRING_MAP if value is str else Kind.STRUCT, dict)
    if annotation is np.ndarray or origin is np.ndarray:
        return FieldType(Kind.ARRAY, np.ndarray)
    if dataclasses.is_dataclass(annotation):
        return FieldType(Kind.MESSAGE, cast(type, annotation))
    if issubclass(annotation, Enum):
        return FieldType(Kind.ENUM, annotation)
    if annotation is datetime:
        return FieldType(Kind.DATETIME, datetime)
    if annotation is timedelta:
        return FieldType(Kind.DURATION, timedelta)
    return FieldType(Kind.SCALAR, annotation)


@per_class
def field_types(cls: type) -> dict[str, FieldType]:
    """Field name → `FieldType` of a dataclass, in order of definition."""
    hints = typing.get_type_hints(cls)
    return {f.name: _classify(hints[f.name]) for f in dataclasses.fields(cls)}


@per_class
def field_bounds(cls: type) -> dict[str, Bounds]:
    """Field name → its stated limits."""
    return {f.name: f.metadata.get("bounds", Bounds()) for f in dataclasses.fields(cls)}


# -- validation -------------------------------------------------------------------------------


def violations(value: Any, path: str = "") -> Iterator[Violation]:
    """Every broken limit in a tree of dataclasses, each with its field's full path."""
    for name, kind, bounds in _limited(type(value)):
        member = getattr(value, name)
        if member is None:
            continue
        where = join(path, name)
        if kind.repeated or kind.kind in (Kind.STRING_MAP, Kind.STRUCT):
            yield from _size_violations(member, bounds, where)
        if not kind.repeated:
            yield from _item_violations(member, kind, bounds, where)
            continue
        for index, item in enumerate(member):
            yield from _item_violations(item, kind, bounds, f"{where}[{index}]")
    if isinstance(value, Validated):
        yield from value.cross_violations(path)


@per_class
def _limited(cls: type) -> tuple[tuple[str, FieldType, Bounds], ...]:
    """The fields that can break a limit; most fields of a record cannot."""
    bounds = field_bounds(cls)
    return tuple(
        (name, kind, bounds[name])
        for name, kind in field_types(cls).items()
        if kind.repeated or _has_limits(kind, bounds[name])
    )


def _has_limits(kind: FieldType, bounds: Bounds) -> bool:
    if kind.kind in (Kind.ENUM, Kind.DATETIME, Kind.ARRAY) or kind.base is bool:
        return False
    if kind.base is int or (kind.base is float and not bounds.finite):
        return (bounds.gt, bounds.ge, bounds.le) != (None, None, None)
    return True


def _item_violations(item: Any, kind: FieldType, bounds: Bounds, path: str) -> Iterator[Violation]:
    if kind.kind is Kind.MESSAGE:
        yield from violations(item, path)
    elif kind.kind is Kind.UNION:
        yield from violations(item, join(path, snake_case(type(item).__name__)))
    elif kind.kind is Kind.DURATION:
        yield from _number_violations(item.total_seconds(), bounds, path)
    elif kind.kind is Kind.STRING_MAP:
        for key, text in item.items():
            yield from _text_violations(key, Bounds(max_length=100, required=True), path)
            yield from _text_violations(text, Bounds(), f"{path}[{key[:100]!r}]")
    elif kind.base is str:
        yield from _text_violations(item, bounds, path)
    elif kind.base in (int, float) and not isinstance(item, bool):
        yield from _number_violations(item, bounds, path)


def _number_violations(number: float, bounds: Bounds, path: str) -> Iterator[Violation]:
    if bounds.finite and not math.isfinite(number):
        yield Violation(path, f"must be a finite number, not {number}")
        return
    too_low = (bounds.gt is not None and number <= bounds.gt) or (
        bounds.ge is not None and number < bounds.ge
    )
    if too_low or (bounds.le is not None and number > bounds.le):
        yield Violation(path, f"must be {bounds.range_text()}, not {number:g}")


def _text_violations(text: str, bounds: Bounds, path: str) -> Iterator[Violation]:
    limit = bounds.max_length or MAX_TEXT
    if bounds.required and not text:
        yield Violation(path, "must not be empty")
    elif len(text) > limit:
        yield Violation(path, f"must have at most {limit} characters, not {len(text)}")
    elif "\x00" in text and not bounds.verbatim:
        yield Violation(path, "must not contain NUL characters")
    elif text and bounds.pattern and not re.fullmatch(bounds.pattern, text):
        yield Violation(path, f"must match {bounds.pattern}, which {text[:80]!r} does not")


def _size_violations(items: Any, bounds: Bounds, path: str) -> Iterator[Violation]:
    if bounds.required and not items:
        yield Violation(path, "must not be empty")
    if bounds.max_length is not None and len(items) > bounds.max_length:
        yield Violation(path, f"must have at most {bounds.max_length} entries, not {len(items)}")


def check(value: T, path: str = "") -> T:
    """Returns `value` if no limit is broken.

    Raises:
        InvalidInput: With the violations found, the first `MAX_VIOLATIONS` of them.
    """
    found = tuple(itertools.islice(violations(value, path), MAX_VIOLATIONS))
    if found:
        raise InvalidInput(violations=found)
    return value


# -- dictionaries -----------------------------------------------------------------------------


def from_dict(cls: type[T], data: Mapping[str, Any], path: str = "") -> T:
    """Builds a dataclass from plain values; missing fields take their defaults.

    Durations are seconds or a string such as ``"90s"``; enums are their values; arrays are nested
    lists. The limits are checked too.

    Raises:
        InvalidInput: A field is unknown, of the wrong type, missing or out of its limits.
    """
    return check(_build(cls, data, path), path)


def _build(cls: type[T], data: Any, path: str) -> T:
    if not isinstance(data, Mapping):
        raise InvalidInput.field(path, f"must be a table of fields, not {_type_name(data)}")
    kinds = field_types(cls)
    for name in data:
        if name not in kinds:
            known = ", ".join(kinds)
            raise InvalidInput.field(join(path, str(name)), f"is not known here; known: {known}")
    values = {}
    for field in dataclasses.fields(cast(Any, cls)):
        where = join(path, field.name)
        if field.name in data:
            values[field.name] = _build_field(kinds[field.name], data[field.name], where)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise InvalidInput.field(where, "is missing")
    return cls(**values)


def _build_field(kind: FieldType, value: Any, path: str) -> Any:
    if value is None and kind.optional:
        return None
    if kind.repeated:
        if not isinstance(value, (list, tuple)):
            raise InvalidInput.field(path, f"must be a list, not {_type_name(value)}")
        return tuple(_build_item(kind, item, f"{path}[{i}]") for i, item in enumerate(value))
    return _build_item(kind, value, path)


def _build_item(kind: FieldType, value: Any, path: str) -> Any:
    if kind.kind is Kind.MESSAGE:
        return _build(kind.base, value, path)
    if kind.kind is Kind.UNION:
        return _build_union(kind, value, path)
    if kind.kind in (Kind.STRUCT, Kind.STRING_MAP):
        if not isinstance(value, Mapping):
            raise InvalidInput.field(path, f"must be a table, not {_type_name(value)}")
        if kind.kind is Kind.STRING_MAP:
            return {str(key): str(item) for key, item in value.items()}
        return dict(value)
    builders = {
        Kind.ENUM: _build_enum,
        Kind.DATETIME: _build_datetime,
        Kind.DURATION: _build_duration,
        Kind.ARRAY: _build_array,
        Kind.SCALAR: _build_scalar,
    }
    return builders[kind.kind](kind, value, path)


def _build_union(kind: FieldType, value: Any, path: str) -> Any:
    by_name = {snake_case(member.__name__): member for member in kind.members}
    names = ", ".join(by_name)
    if isinstance(value, str):  # shorthand: the member with all its defaults
        value = {value: {}}
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
        raise InvalidInput.field(path, "must be nested lists of numbers of one shape") from None


def _build_scalar(kind: FieldType, value: Any, path: str) -> Any:
    base = kind.base
    if base is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if base is float and value in _NOT_FINITE:
        return float(value)
    if base is bytes and isinstance(value, str):
        return base64.b64decode(value)
    if isinstance(value, bool) is not (base is bool) or not isinstance(value, base):
        raise InvalidInput.field(path, f"must be {_type_words[base]}, not {_type_name(value)}")
    return value


_type_words: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    bytes: "bytes in base64",
}


def _type_name(value: Any) -> str:
    return _type_words.get(type(value), type(value).__name__)


_NOT_FINITE = ("NaN", "Infinity", "-Infinity")
"""How JSON, which has no such numbers, is told them; protobuf's own JSON does it alike."""


def _written(number: float) -> float | str:
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else _NOT_FINITE[1 if number > 0 else 2]


def to_dict(value: Any, *, arrays: Literal["list", "omit"] = "list") -> dict[str, Any]:
    """The dataclass as JSON-ready values; the inverse of `from_dict`. Numbers that are not finite
    are the texts ``NaN``, ``Infinity`` and ``-Infinity``.

    Absent optional fields are left out; ``arrays="omit"`` leaves raw tensors out too.
    """
    result = {}
    for name, kind in field_types(type(value)).items():
        member = getattr(value, name)
        if member is None or (kind.kind is Kind.ARRAY and arrays == "omit"):
            continue
        if kind.repeated:
            result[name] = [_plain(item, kind, arrays) for item in member]
        else:
            result[name] = _plain(member, kind, arrays)
    return result


def _plain(item: Any, kind: FieldType, arrays: Literal["list", "omit"]) -> Any:
    if kind.kind is Kind.MESSAGE:
        return to_dict(item, arrays=arrays)
    if kind.kind is Kind.UNION:
        return {snake_case(type(item).__name__): to_dict(item, arrays=arrays)}
    if kind.kind is Kind.ENUM:
        return item.value
    if kind.kind is Kind.DATETIME:
        return item.isoformat()
    if kind.kind is Kind.DURATION:
        return item.total_seconds()
    if kind.kind is Kind.ARRAY:
        raw = np.ascontiguousarray(item, dtype=item.dtype.newbyteorder("<")).tobytes()
        encoded = base64.b64encode(raw).decode()
        return {"dtype": item.dtype.name, "shape": list(item.shape), "base64": encoded}
    if kind.kind in (Kind.STRUCT, Kind.STRING_MAP):
        return dict(item)
    if isinstance(item, bytes):
        return base64.b64encode(item).decode()
    return _written(item) if isinstance(item, float) else item


def all_dataclasses(roots: Iterable[type]) -> tuple[type, ...]:
    """The dataclasses reachable from `roots`, themselves included, each once."""
    seen: dict[type, None] = {}
    todo = list(roots)
    while todo:
        cls = todo.pop(0)
        if cls in seen:
            continue
        seen[cls] = None
        for kind in field_types(cls).values():
            todo.extend(kind.members)
            if kind.kind is Kind.MESSAGE:
                todo.append(kind.base)
    return tuple(seen)
