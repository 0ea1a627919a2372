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
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

from google.protobuf import struct_pb2
from google.protobuf.message import DecodeError, Message

from mentorgrad.errors import DataLoss, InvalidInput
from mentorgrad.model.event import RunEvent
from mentorgrad.schema import FieldType, Kind, check, field_types, join, per_class, snake_case
from mentorgrad.v1 import advice_pb2, event_pb2, query_pb2, run_pb2
from mentorgrad.wire import tensors

T = TypeVar("T")
E = TypeVar("E", bound=enum.Enum)

_MODULES = (run_pb2, advice_pb2, event_pb2, query_pb2)
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
    _fill(message, value)
    return message


def _fill(message: Any, value: Any) -> None:
    oneofs = message.DESCRIPTOR.oneofs_by_name
    for name, kind in field_types(type(value)).items():
        member = getattr(value, name)
        if member is None:
            continue
        if kind.kind is Kind.SCALAR and not kind.repeated:  # first, being most fields by far
            setattr(message, name, member)
        elif kind.kind is Kind.UNION:
            holder = message if name in oneofs else getattr(message, name)
            inner = getattr(holder, snake_case(type(member).__name__))
            inner.SetInParent()
            _fill(inner, member)
        elif kind.repeated:
            _extend(getattr(message, name), member, kind)
        elif kind.kind is Kind.STRING_MAP:
            getattr(message, name).update(member)
        else:
            _set(message, name, member, kind)


def _extend(target: Any, items: Any, kind: FieldType) -> None:
    if kind.kind is Kind.MESSAGE:
        for item in items:
            _fill(target.add(), item)
    elif kind.kind is Kind.ENUM:
        target.extend(enum_number(item) for item in items)
    else:
        target.extend(items)


def _set(message: Any, name: str, member: Any, kind: FieldType) -> None:
    if kind.kind is Kind.MESSAGE:
        inner = getattr(message, name)
        inner.SetInParent()
        _fill(inner, member)
    elif kind.kind is Kind.ENUM:
        setattr(message, name, enum_number(member))
    elif kind.kind is Kind.DATETIME:
        getattr(message, name).FromDatetime(member.astimezone(UTC))
    elif kind.kind is Kind.DURATION:
        getattr(message, name).FromTimedelta(member)
    elif kind.kind is Kind.ARRAY:
        getattr(message, name).CopyFrom(tensors.encode(member))
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
    values = {}
    for name, kind in field_types(cast(type, cls)).items():
        value = _read(message, name, kind, join(path, name))
        if value is not None:
            values[name] = value
    try:
        result = cls(**values)
    except TypeError:
        missing = [
            f.name
            for f in dataclasses.fields(cast(Any, cls))
            if f.default is dataclasses.MISSING
            and f.default_factory is dataclasses.MISSING
            and f.name not in values
        ]
        raise InvalidInput.field(join(path, missing[0]), "is missing") from None
    return check(result, path) if checked else result


def _read(message: Any, name: str, kind: FieldType, path: str) -> Any:
    """A field's value, or None where the dataclass's default holds."""
    if kind.kind is Kind.UNION:
        return _read_union(message, name, kind, path)
    if kind.repeated:
        return tuple(
            _read_item(item, kind, f"{path}[{i}]") for i, item in enumerate(getattr(message, name))
        )
    if kind.kind is Kind.STRING_MAP:
        return dict(getattr(message, name))
    if message.DESCRIPTOR.fields_by_name[name].has_presence and not message.HasField(name):
        return None
    return _read_item(getattr(message, name), kind, path)


def _read_union(message: Any, name: str, kind: FieldType, path: str) -> Any:
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
    return from_message(cls, getattr(holder, member), join(path, member))


def _read_item(value: Any, kind: FieldType, path: str) -> Any:
    if kind.kind is Kind.MESSAGE:
        return from_message(kind.base, value, path)
    if kind.kind is Kind.ENUM:
        return enum_member(cast(type[enum.Enum], kind.base), value, path)
    if kind.kind is Kind.ARRAY:
        return tensors.decode(value, path)
    if kind.kind is Kind.STRUCT:
        return from_struct(value)
    if kind.kind is Kind.DATETIME:
        return _read_datetime(value, path)
    if kind.kind is Kind.DURATION:
        return _read_duration(value, path)
    return value


def _read_datetime(value: Any, path: str) -> datetime:
    try:
        return cast(datetime, value.ToDatetime(tzinfo=UTC))
    except (ValueError, OverflowError):
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
