"""The one way between the domain's dataclasses and the messages of `mentorgrad.v1`.

Both sides use the same words, so the conversion follows the fields' names and types; there is no
second list of fields to keep in step. A contract test compares every dataclass with its message.

- an absent message or `optional` field becomes the dataclass's default;
- an enum's `_UNSPECIFIED` becomes the default, an unknown number is an error;
- a union of dataclasses is a `oneof` (in the message itself, or in a wrapper message);
- arrays are `Tensor`, durations `Duration`, times `Timestamp`, free mappings `Struct`.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar, cast

from google.protobuf import struct_pb2
from google.protobuf.message import DecodeError, Message

from mentorgrad.errors import DataLoss, InvalidInput
from mentorgrad.model.event import RunEvent
from mentorgrad.schema import (
    FieldType,
    Kind,
    check,
    field_bounds,
    field_types,
    join,
    per_class,
    snake_case,
)
from mentorgrad.v1 import advice_pb2, event_pb2, experiment_pb2, query_pb2, run_pb2
from mentorgrad.wire import tensors

T = TypeVar("T")
E = TypeVar("E", bound=enum.Enum)

MAX_ENTRIES = 100_000
"""Most entries of all lists and maps of one message from outside together. An empty entry takes two
bytes on the wire and some hundred times that as an object, so they are counted before any is made.
"""

MAX_STRUCT_BYTES = 64 * 1024
"""Largest free mapping from outside, as its message."""

_MODULES = (run_pb2, advice_pb2, event_pb2, query_pb2, experiment_pb2)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_SECONDS = 10**11
"""Durations beyond this (some 3,000 years) do not fit into a timedelta safely."""


@per_class
def message_class(cls: type) -> type[Message]:
    """The message of the same name as a dataclass."""
    for module in _MODULES:
        if hasattr(module, cls.__name__):
            return cast(type[Message], getattr(module, cls.__name__))
    raise LookupError(f"{cls.__name__} has no message")


# -- to the wire ------------------------------------------------------------------------------


def to_message(value: Any) -> Any:
    """The dataclass as its message."""
    message = message_class(type(value))()
    fill(message, value)
    return message


def fill(message: Any, value: Any) -> None:
    """Writes the dataclass into its message, which is empty: one copy less than `to_message` where
    it is a part of another."""
    for name, kind, is_plain in _outgoing(type(value)):
        member = getattr(value, name)
        if member is None:
            continue
        if is_plain:  # first, being most fields by far
            setattr(message, name, member)
        elif kind.kind is Kind.UNION:
            is_oneof = name in message.DESCRIPTOR.oneofs_by_name
            holder = message if is_oneof else getattr(message, name)
            inner = getattr(holder, snake_case(type(member).__name__))
            inner.SetInParent()
            fill(inner, member)
        elif kind.repeated:
            _extend(getattr(message, name), member, kind)
        elif kind.kind is Kind.STRING_MAP:
            getattr(message, name).update(member)
        else:
            _set(message, name, member, kind)


@per_class
def _outgoing(cls: type) -> tuple[tuple[str, FieldType, bool], ...]:
    """Name and type of each field, and whether it is written as it is."""
    return tuple(
        (name, kind, kind.kind is Kind.SCALAR and not kind.repeated)
        for name, kind in field_types(cls).items()
    )


def _extend(target: Any, items: Any, kind: FieldType) -> None:
    if kind.kind is Kind.MESSAGE:
        for item in items:
            fill(target.add(), item)
    elif kind.kind is Kind.ENUM:
        target.extend(enum_number(item) for item in items)
    else:
        target.extend(items)


def _set(message: Any, name: str, member: Any, kind: FieldType) -> None:
    if kind.kind is Kind.MESSAGE:
        inner = getattr(message, name)
        inner.SetInParent()
        fill(inner, member)
    elif kind.kind is Kind.ENUM:
        setattr(message, name, enum_number(member))
    elif kind.kind is Kind.DATETIME:
        since = member.astimezone(UTC) - _EPOCH
        stamp = getattr(message, name)
        stamp.seconds = since.days * 86_400 + since.seconds
        stamp.nanos = since.microseconds * 1000
    elif kind.kind is Kind.DURATION:
        getattr(message, name).FromTimedelta(member)
    elif kind.kind is Kind.ARRAY:
        tensors.write(member, getattr(message, name))
    elif kind.kind is Kind.STRUCT:
        getattr(message, name).CopyFrom(to_struct(member))
    else:
        setattr(message, name, member)


# -- from the wire ----------------------------------------------------------------------------


def from_message(cls: type[T], message: Any, path: str = "", *, checked: bool = False) -> T:
    """The message as the dataclass.

    Args:
        cls: The dataclass.
        message: Its message.
        path: Where the message stands in the request, for error paths.
        checked: Whether the stated limits are checked too; for input from outside.

    Raises:
        InvalidInput: A value has no place in the dataclass, or breaks a limit.
    """
    result = _build(cls, message, path, _Room() if checked else None)
    return check(result, path) if checked else result


class _Room:
    """What is left of the entries that one message may have."""

    def __init__(self) -> None:
        self._left = MAX_ENTRIES

    def take(self, size: int, limit: int | None, path: str) -> None:
        if limit is not None and size > limit:
            raise InvalidInput.field(path, f"must have at most {limit} entries, not {size}")
        self._left -= size
        if self._left < 0:
            raise InvalidInput.field(
                path, f"makes more than {MAX_ENTRIES} entries, the most of one message"
            )


class _Field(NamedTuple):
    """How a field is read."""

    name: str
    kind: FieldType
    limit: int | None
    """Most entries."""
    has_presence: bool
    """Whether the message may be without it."""
    is_plain: bool
    """Whether it can be taken as it is."""


@functools.cache
def _fields(cls: type, message: type[Message]) -> tuple[_Field, ...]:
    """The fields of a dataclass as its message has them, worked out once."""
    known, bounds = message.DESCRIPTOR.fields_by_name, field_bounds(cls)
    found = []
    for name, kind in field_types(cls).items():
        has_presence = name in known and known[name].has_presence
        is_plain = kind.kind is Kind.SCALAR and not kind.repeated and not has_presence
        found.append(_Field(name, kind, bounds[name].max_length, has_presence, is_plain))
    return tuple(found)


def _build(cls: type[T], message: Any, path: str, room: _Room | None) -> T:
    values = {}
    for field in _fields(cast(type, cls), message.__class__):
        name, kind = field.name, field.kind
        if field.is_plain:  # first, being most fields by far
            values[name] = getattr(message, name)
            continue
        where = join(path, name)
        if room is not None and (kind.repeated or kind.kind is Kind.STRING_MAP):
            room.take(len(getattr(message, name)), field.limit, where)
        value = _read(message, field, where, room)
        if value is not None:
            values[name] = value
    try:
        return cls(**values)
    except TypeError:
        missing = [
            f.name
            for f in dataclasses.fields(cast(Any, cls))
            if f.default is dataclasses.MISSING
            and f.default_factory is dataclasses.MISSING
            and f.name not in values
        ]
        raise InvalidInput.field(join(path, missing[0]), "is missing") from None


def _read(message: Any, field: _Field, path: str, room: _Room | None) -> Any:
    """A field's value, or None where the dataclass's default holds."""
    name, kind = field.name, field.kind
    if kind.kind is Kind.UNION:
        return _read_union(message, name, kind, path, room)
    if kind.repeated:
        return tuple(
            _read_entry(item, kind, f"{path}[{i}]", room)
            for i, item in enumerate(getattr(message, name))
        )
    if kind.kind is Kind.STRING_MAP:
        return dict(getattr(message, name))
    if field.has_presence and not message.HasField(name):
        return None
    return _read_item(getattr(message, name), kind, path, room)


def _read_entry(item: Any, kind: FieldType, path: str, room: _Room | None) -> Any:
    value = _read_item(item, kind, path, room)
    if value is None:  # of a list, where there is no default
        raise InvalidInput.field(path, "must not be unspecified")
    return value


def _read_union(message: Any, name: str, kind: FieldType, path: str, room: _Room | None) -> Any:
    if name in message.DESCRIPTOR.oneofs_by_name:
        holder, oneof = message, name
    elif message.HasField(name):
        holder = getattr(message, name)
        oneof = holder.DESCRIPTOR.oneofs[0].name
    else:
        return None
    member = holder.WhichOneof(oneof)
    if member is None:
        names = ", ".join(snake_case(item.__name__) for item in kind.members)
        raise InvalidInput.field(path, f"must set exactly one of: {names}")
    cls = next(item for item in kind.members if snake_case(item.__name__) == member)
    return _build(cls, getattr(holder, member), join(path, member), room)


def _read_item(value: Any, kind: FieldType, path: str, room: _Room | None) -> Any:
    if kind.kind is Kind.MESSAGE:
        return _build(kind.base, value, path, room)
    if kind.kind is Kind.ENUM:
        return enum_member(cast(type[enum.Enum], kind.base), value, path)
    if kind.kind is Kind.ARRAY:
        return tensors.decode(value, path)
    if kind.kind is Kind.STRUCT:
        if room is not None and value.ByteSize() > MAX_STRUCT_BYTES:
            raise InvalidInput.field(path, f"must have at most {MAX_STRUCT_BYTES} bytes")
        return from_struct(value)
    if kind.kind is Kind.DATETIME:
        return _read_datetime(value, path)
    if kind.kind is Kind.DURATION:
        return _read_duration(value, path)
    return value


def _read_datetime(value: Any, path: str) -> datetime:
    try:
        if not 0 <= value.nanos < 10**9:
            raise OverflowError
        return _EPOCH + timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)
    except OverflowError:
        raise InvalidInput.field(path, "must be a time between the years 1 and 9999") from None


def _read_duration(value: Any, path: str) -> timedelta:
    if abs(value.seconds) > _MAX_SECONDS or abs(value.nanos) >= 10**9:
        raise InvalidInput.field(path, "must be a duration within the allowed range")
    return timedelta(seconds=value.seconds, microseconds=value.nanos / 1000)


# -- enums and structs ------------------------------------------------------------------------


@per_class
def _numbers(cls: type[enum.Enum]) -> dict[enum.Enum, int]:
    for module in _MODULES:
        if hasattr(module, cls.__name__):
            names = getattr(module, cls.__name__)
            prefix = snake_case(cls.__name__).upper()
            return {member: names.Value(f"{prefix}_{member.name}") for member in cls}
    raise LookupError(f"{cls.__name__} has no enum on the wire")


def enum_number(member: enum.Enum) -> Any:
    """The wire number of an enum member (an int; the stubs give every enum a type of its own)."""
    return _numbers(type(member))[member]


def enum_member(cls: type[E], number: int, path: str = "") -> E | None:
    """The member of a wire number; None when it is unspecified.

    Raises:
        InvalidInput: The number is unknown here.
    """
    if number == 0:
        return None
    for member, known in _numbers(cls).items():
        if known == number:
            return cast(E, member)
    names = ", ".join(str(member.value) for member in cls)
    raise InvalidInput.field(path, f"must be one of: {names}; not the unknown number {number}")


def to_struct(mapping: Mapping[str, Any]) -> struct_pb2.Struct:
    """A free mapping as `Struct`."""
    struct = struct_pb2.Struct()
    struct.update(dict(mapping))
    return struct


def from_struct(struct: struct_pb2.Struct) -> dict[str, Any]:
    """A `Struct` as a plain mapping; whole numbers become int again."""
    return {key: _plain(value) for key, value in struct.fields.items()}


def _plain(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return from_struct(value.struct_value)
    if kind == "list_value":
        return [_plain(item) for item in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    return getattr(value, kind) if kind in ("string_value", "bool_value") else None


# -- bytes ------------------------------------------------------------------------------------


def encode_event(event: RunEvent) -> bytes:
    """The event as the bytes that the store keeps."""
    return cast(bytes, to_message(event).SerializeToString(deterministic=True))


def decode_event(data: bytes) -> RunEvent:
    """The inverse of `encode_event`.

    Raises:
        DataLoss: The bytes are not an event.
    """
    message = event_pb2.RunEvent()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise DataLoss(f"a stored event cannot be read: {error}") from None
    return from_message(RunEvent, message)


def encode(value: Any) -> bytes:
    """Any dataclass that has a message, as bytes."""
    return cast(bytes, to_message(value).SerializeToString(deterministic=True))


def decode(cls: type[T], data: bytes) -> T:
    """The inverse of `encode`.

    Raises:
        DataLoss: The bytes are not such a message.
    """
    message = message_class(cast(type, cls))()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise DataLoss(f"a stored {cls.__name__} cannot be read: {error}") from None
    return from_message(cls, message)
