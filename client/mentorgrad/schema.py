"""Types and limits of dataclass fields, by introspection.

A dataclass declares the limits of a field together with the field::

    @dataclass(frozen=True)
    class Stages:
        steps: int = bounded(40, ge=1, le=100_000)

`mentorgrad.field_limits` validates nested dataclasses against these limits;
`mentorgrad.serialization` converts them from and to TOML and JSON, `mentorgrad.wire.codec` from and
to protobuf messages.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, TypeVar, cast

import numpy as np

from mentorgrad.errors import Violation

T = TypeVar("T")
C = TypeVar("C")
R = TypeVar("R")

MAX_RECORDED_TEXT = 100_000
"""Maximum characters of a text in a run's records."""

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]*"
"""Regular expression for names of mentors, tasks, strategies and optimizers."""


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
    """Maximum characters of a string, or items of a sequence or mapping."""
    pattern: str | None = None
    """Regular expression that the whole string must match."""
    required: bool = False
    """Whether the empty string or sequence is invalid."""
    finite: bool = True
    """Whether NaN and infinities are invalid; False in records, where a loss may diverge."""
    verbatim: bool = False
    """Whether NUL characters are allowed; some tokenizers have such a token."""

    def range_text(self) -> str:
        """Describes the numeric limits, for error messages and the reference."""
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
    """A dataclass field with a default or default factory, and `Bounds`."""
    return dataclasses.field(
        default=default, default_factory=factory, metadata={"bounds": Bounds(**limits)}
    )


def recorded(default: str = "", *, max_length: int = MAX_RECORDED_TEXT) -> Any:
    """A field for recorded text, stored verbatim: records must always be readable again."""
    return bounded(default, max_length=max_length, verbatim=True)


def figure(default: Any = 0.0) -> Any:
    """A field for a measured number, which may be NaN or infinite after divergence."""
    return bounded(default, finite=False)


class Validated:
    """Base of dataclasses with rules across fields."""

    def cross_violations(self) -> Iterator[Violation]:
        """Yields violations of such rules, with paths relative to this object; to override."""
        yield from ()


class ByName:
    """Base of dataclasses that a string may stand for: their `name`, with defaults otherwise."""


class FieldKind(Enum):
    """Category of a field's type, which determines its serialization."""

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
    """A field's type annotation, parsed."""

    kind: FieldKind
    base: type
    """The class, for sequences of the elements; for a union, `object`."""
    optional: bool = False
    repeated: bool = False
    members: tuple[type, ...] = ()
    """The dataclasses of a union."""


@functools.lru_cache(1024)
def snake_case(name: str) -> str:
    """``LabelPrompt`` → ``label_prompt``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def join(path: str, name: str) -> str:
    """Joins a path and a member's name with a dot."""
    return f"{path}.{name}" if path else name


def evolve(value: T, **changes: Any) -> T:
    """`dataclasses.replace`, but four times as fast because it skips the constructor; for
    dataclasses without logic in `__init__` or `__post_init__`."""
    made = object.__new__(type(value))
    fields = vars(made)
    fields |= vars(value)
    fields |= changes
    return made


def per_class(function: Callable[[type[C]], R]) -> Callable[[type[C]], R]:
    """Decorator: caches a function's result per class argument."""
    return cast(Callable[[type[C]], R], functools.cache(function))


def _classify(annotation: Any) -> FieldType:
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        members = [arg for arg in typing.get_args(annotation) if arg is not type(None)]
        optional = len(members) < len(typing.get_args(annotation))
        if len(members) == 1:
            return dataclasses.replace(_classify(members[0]), optional=optional)
        return FieldType(FieldKind.UNION, object, optional=optional, members=tuple(members))
    if origin is tuple:
        return dataclasses.replace(_classify(typing.get_args(annotation)[0]), repeated=True)
    if origin is not None and issubclass(origin, Mapping):
        value = typing.get_args(annotation)[1]
        return FieldType(FieldKind.STRING_MAP if value is str else FieldKind.STRUCT, dict)
    if annotation is np.ndarray or origin is np.ndarray:
        return FieldType(FieldKind.ARRAY, np.ndarray)
    if dataclasses.is_dataclass(annotation):
        return FieldType(FieldKind.MESSAGE, cast(type, annotation))
    if issubclass(annotation, Enum):
        return FieldType(FieldKind.ENUM, annotation)
    if annotation is datetime:
        return FieldType(FieldKind.DATETIME, datetime)
    if annotation is timedelta:
        return FieldType(FieldKind.DURATION, timedelta)
    return FieldType(FieldKind.SCALAR, annotation)


@per_class
def field_types(cls: type) -> dict[str, FieldType]:
    """Field name → `FieldType` of a dataclass, in order of definition."""
    hints = typing.get_type_hints(cls)
    return {f.name: _classify(hints[f.name]) for f in dataclasses.fields(cls)}


@per_class
def field_bounds(cls: type) -> dict[str, Bounds]:
    """Field name → `Bounds` of a dataclass."""
    return {f.name: f.metadata.get("bounds", Bounds()) for f in dataclasses.fields(cls)}


def written_out(kind: FieldType, value: Any) -> Any:
    """The fields that a string stands for: a union's member by its name, with default values, or a
    `ByName` by its field `name`; any other value unchanged."""
    if not isinstance(value, str):
        return value
    if kind.kind is FieldKind.UNION:
        return {value: {}}
    return {"name": value} if issubclass(kind.base, ByName) else value


def base_of(cls: type, name: str) -> Any:
    """The values that a nested dataclass takes where they are not given, if the enclosing one has
    others than the nested class's own defaults; otherwise None."""
    made = {f.name: f.default_factory for f in dataclasses.fields(cls)}[name]
    kind = field_types(cls)[name]
    if kind.kind is not FieldKind.MESSAGE or made in (dataclasses.MISSING, kind.base):
        return None
    return made()


def all_dataclasses(roots: Iterable[type]) -> tuple[type, ...]:
    """All dataclasses reachable from `roots` through fields, including `roots`, each once."""
    seen: dict[type, None] = {}
    todo = list(roots)
    while todo:
        cls = todo.pop(0)
        if cls in seen:
            continue
        seen[cls] = None
        for kind in field_types(cls).values():
            todo.extend(kind.members)
            if kind.kind is FieldKind.MESSAGE:
                todo.append(kind.base)
    return tuple(seen)
