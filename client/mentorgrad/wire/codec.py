"""Conversion between the domain's dataclasses and the protobuf messages of `mentorgrad.v1`.

Dataclasses and messages have the same field names, so the conversion follows names and types
instead of a separate field list. A contract test compares every dataclass with its message.

- an absent message or `optional` field becomes the dataclass's default;
- an enum's `_UNSPECIFIED` becomes the default, an unknown number is an error;
- a union of dataclasses is a `oneof` (in the message itself, or in a wrapper message);
- arrays are `Tensor`, durations `Duration`, times `Timestamp`, free mappings `Struct`.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

from google.protobuf import struct_pb2
from google.protobuf.message import DecodeError, Message

from mentorgrad.domain.event import RunEvent
from mentorgrad.errors import DataLoss, InvalidInput
from mentorgrad.field_limits import check_limits, within
from mentorgrad.schema import (
    FieldKind,
    FieldType,
    base_of,
    field_bounds,
    field_types,
    per_class,
    snake_case,
)
from mentorgrad.v1 import (
    advice_pb2,
    event_pb2,
    experiment_pb2,
    prediction_pb2,
    query_pb2,
    run_pb2,
)
from mentorgrad.wire import tensors

T = TypeVar("T")
E = TypeVar("E", bound=enum.Enum)
M = TypeVar("M", bound=Message)

MAX_ENTRIES = 100_000
"""Maximum entries of all lists and maps in one untrusted message. An empty entry takes two bytes on
the wire and some hundred times that as an object, so entries are counted before objects are made.
"""

MAX_STRUCT_BYTES = 64 * 1024
"""Maximum bytes of a free mapping (`Struct`) in an untrusted message."""

_MODULES = (run_pb2, advice_pb2, event_pb2, query_pb2, experiment_pb2, prediction_pb2)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_SECONDS = 10**11
"""Maximum duration (some 3,000 years); a timedelta might overflow beyond."""


@per_class
def message_class(cls: type) -> type[Message]:
    """The message class with the same name as a dataclass."""
    for module in _MODULES:
        if hasattr(module, cls.__name__):
            return cast(type[Message], getattr(module, cls.__name__))
    raise LookupError(f"{cls.__name__} has no message")


# -- to the wire ------------------------------------------------------------------------------


def to_message(value: Any) -> Any:
    """Converts a dataclass to its message."""
    return fill(message_class(type(value))(), value)


def fill(message: T, value: Any) -> T:
    """Writes a dataclass into an empty message with its fields, and returns the message.

    For a message that is part of another this saves a copy; for a response, a message of its own.
    """
    target: Any = message
    for name, kind, is_plain in _outgoing(type(value)):
        member = getattr(value, name)
        if member is None:
            continue
        if is_plain:  # first, since most fields are plain
            setattr(target, name, member)
        elif kind.kind is FieldKind.UNION:
            is_oneof = name in target.DESCRIPTOR.oneofs_by_name
            holder = target if is_oneof else getattr(target, name)
            inner = getattr(holder, snake_case(type(member).__name__))
            inner.SetInParent()
            fill(inner, member)
        elif kind.repeated:
            _extend(getattr(target, name), member, kind)
        elif kind.kind is FieldKind.STRING_MAP:
            getattr(target, name).update(member)
        else:
            _set(target, name, member, kind)
    return message


@per_class
def _outgoing(cls: type) -> tuple[tuple[str, FieldType, bool], ...]:
    """Name and type of each field, and whether it is assigned without conversion."""
    return tuple(
        (name, kind, kind.kind is FieldKind.SCALAR and not kind.repeated)
        for name, kind in field_types(cls).items()
    )


def _extend(target: Any, items: Any, kind: FieldType) -> None:
    if kind.kind is FieldKind.MESSAGE:
        for item in items:
            fill(target.add(), item)
    elif kind.kind is FieldKind.ENUM:
        target.extend(enum_number(item) for item in items)
    else:
        target.extend(items)


def _set(message: Any, name: str, member: Any, kind: FieldType) -> None:
    if kind.kind is FieldKind.MESSAGE:
        inner = getattr(message, name)
        inner.SetInParent()
        fill(inner, member)
    elif kind.kind is FieldKind.ENUM:
        setattr(message, name, enum_number(member))
    elif kind.kind is FieldKind.DATETIME:
        since = member.astimezone(UTC) - _EPOCH
        stamp = getattr(message, name)
        stamp.seconds = since.days * 86_400 + since.seconds
        stamp.nanos = since.microseconds * 1000
    elif kind.kind is FieldKind.DURATION:
        getattr(message, name).FromTimedelta(member)
    elif kind.kind is FieldKind.ARRAY:
        tensors.write(member, getattr(message, name))
    elif kind.kind is FieldKind.STRUCT:
        getattr(message, name).CopyFrom(to_struct(member))
    else:
        setattr(message, name, member)


# -- from the wire ----------------------------------------------------------------------------


def from_message(
    cls: type[T],
    message: Any,
    path: str = "",
    *,
    checked: bool = False,
    whole: Room | None = None,
) -> T:
    """Converts a message to its dataclass.

    Args:
        cls: The dataclass.
        message: Its message.
        path: Path of the message in the request, for error messages.
        checked: Whether to validate the declared limits; for untrusted input.
        whole: Budget of entries of all messages of a stream together.

    Raises:
        InvalidInput: A value cannot be converted, or violates a limit.
    """
    try:
        result = _build(cls, message, Room(MAX_ENTRIES, "message", whole) if checked else None)
    except InvalidInput as error:
        raise _within(path, error) from None
    return check_limits(result, path) if checked else result


def _within(path: str, error: InvalidInput) -> InvalidInput:
    """Prefixes the paths of an error with the path of the part."""
    return InvalidInput(violations=within(path, error.violations), reason=error.reason)


class Room:
    """Budget of entries of lists and maps.

    Args:
        entries: Maximum number of entries.
        of: Noun for what contains them, for error messages.
        whole: Budget of the enclosing whole, which is charged too.
    """

    def __init__(self, entries: int, of: str, whole: Room | None = None) -> None:
        self._entries = self._left = entries
        self._of = of
        self._whole = whole

    def take(self, size: int, limit: int | None = None) -> None:
        """Charges `size` entries of one list, whose own limit is `limit`.

        Raises:
            InvalidInput: There are too many.
        """
        if limit is not None and size > limit:
            raise InvalidInput.field("", f"must have at most {limit} entries, not {size}")
        self._left -= size
        if self._left < 0:
            raise InvalidInput.field(
                "", f"exceeds the limit of {self._entries} entries per {self._of}"
            )
        if self._whole is not None:
            self._whole.take(size)


_Read = Callable[[Any, Room | None], Any]
"""Reads the value of a field from a message, or of an item; None: the dataclass's default
applies."""


@dataclass(frozen=True)
class _Reader:
    """Compiled conversion from a message to a dataclass."""

    plain: tuple[str, ...]
    """Fields that need no conversion; most by far."""
    take: Callable[[Any], Iterable[Any]]
    """Returns their values from a message."""
    others: tuple[tuple[str, _Read], ...]
    """Name and reader of each other field."""
    defaults: dict[str, Any]
    """Defaults of the other fields."""
    factories: dict[str, Callable[[], Any]]
    """Default factories of the other fields."""
    count: int
    """Number of fields."""


@functools.cache
def _reader(cls: type, message: type[Message]) -> _Reader:
    known, bounds = message.DESCRIPTOR.fields_by_name, field_bounds(cls)
    plain, others = [], []
    for name, kind in field_types(cls).items():
        has_presence = name in known and known[name].has_presence
        if kind.kind is FieldKind.SCALAR and not kind.repeated and not has_presence:
            plain.append(name)
        elif kind.kind is FieldKind.UNION:
            others.append((name, _union_reader(name, kind, message)))
        elif kind.repeated:
            others.append((name, _list_reader(name, kind, bounds[name].max_length)))
        elif kind.kind is FieldKind.STRING_MAP:
            others.append((name, _map_reader(name, bounds[name].max_length)))
        else:
            others.append((name, _single_reader(name, kind, has_presence, base_of(cls, name))))
    made = [f for f in dataclasses.fields(cast(Any, cls)) if f.name not in plain]
    return _Reader(
        plain=tuple(plain),
        take=_taker(plain),
        others=tuple(others),
        defaults={f.name: f.default for f in made if f.default is not dataclasses.MISSING},
        factories={
            f.name: f.default_factory for f in made if f.default_factory is not dataclasses.MISSING
        },
        count=len(plain) + len(made),
    )


def _taker(names: list[str]) -> Callable[[Any], Iterable[Any]]:
    if len(names) > 1:
        return operator.attrgetter(*names)
    return lambda message: [getattr(message, name) for name in names]


def _build(cls: type[T], message: Any, room: Room | None, base: T | None = None) -> T:
    """Builds the dataclass without its constructor, which is slow for frozen dataclasses. Absent
    fields take the values of `base`, or without it the defaults."""
    reader = _reader(cast(type, cls), message.__class__)
    made = object.__new__(cls)
    fields = vars(made)
    fields |= reader.defaults if base is None else vars(base)
    fields.update(zip(reader.plain, reader.take(message), strict=True))
    name = ""
    try:
        for name, read in reader.others:
            value = read(message, room)
            if value is not None:
                fields[name] = value
    except InvalidInput as error:
        raise _within(name, error) from None
    if len(fields) < reader.count:
        _complete(fields, reader)
    return made


def _complete(fields: dict[str, Any], reader: _Reader) -> None:
    """Fills absent fields from default factories."""
    for name, _ in reader.others:
        if name in fields:
            continue
        if name not in reader.factories:
            raise InvalidInput.field(name, "is missing")
        fields[name] = reader.factories[name]()


def _union_reader(name: str, kind: FieldType, message: type[Message]) -> _Read:
    """Reader of a `oneof`, in the message itself or in a wrapper message."""
    classes = {snake_case(member.__name__): member for member in kind.members}
    descriptor: Any = message.DESCRIPTOR
    wrapped = name not in descriptor.oneofs_by_name
    oneof = descriptor.fields_by_name[name].message_type.oneofs[0].name if wrapped else name

    def read(message: Any, room: Room | None) -> Any:
        if wrapped:
            if not message.HasField(name):
                return None
            message = getattr(message, name)
        member = message.WhichOneof(oneof)
        if member is None:
            raise InvalidInput.field("", f"must set exactly one of: {', '.join(classes)}")
        try:
            return _build(classes[member], getattr(message, member), room)
        except InvalidInput as error:
            raise _within(member, error) from None

    return read


def _list_reader(name: str, kind: FieldType, limit: int | None) -> _Read:
    read_item = _item_reader(kind)

    def read(message: Any, room: Room | None) -> Any:
        items = getattr(message, name)
        if room is not None:
            room.take(len(items), limit)
        values: list[Any] = []
        try:
            for item in items:
                value = read_item(item, room)
                if value is None:  # list items have no default
                    raise InvalidInput.field("", "must not be unspecified")
                values.append(value)
        except InvalidInput as error:
            raise _within(f"[{len(values)}]", error) from None
        return tuple(values)

    return read


def _map_reader(name: str, limit: int | None) -> _Read:
    def read(message: Any, room: Room | None) -> Any:
        items = getattr(message, name)
        if room is not None:
            room.take(len(items), limit)
        return dict(items)

    return read


def _single_reader(name: str, kind: FieldType, has_presence: bool, base: Any) -> _Read:
    read_item = _item_reader(kind)
    if base is not None:
        read_item = functools.partial(_build, kind.base, base=base)

    def read(message: Any, room: Room | None) -> Any:
        if has_presence and not message.HasField(name):
            return None
        return read_item(getattr(message, name), room)

    return read


def _item_reader(kind: FieldType) -> _Read:
    """Reader of a single value."""
    cls = kind.base
    readers: dict[FieldKind, _Read] = {
        FieldKind.MESSAGE: lambda value, room: _build(cls, value, room),
        FieldKind.ENUM: lambda value, _: enum_member(cast(type[enum.Enum], cls), value),
        FieldKind.ARRAY: lambda value, _: tensors.decode(value, ""),
        FieldKind.STRUCT: _read_struct,
        FieldKind.DATETIME: lambda value, _: _read_datetime(value),
        FieldKind.DURATION: lambda value, _: _read_duration(value),
        FieldKind.SCALAR: lambda value, _: value,
    }
    return readers[kind.kind]


def _read_struct(value: Any, room: Room | None) -> dict[str, Any]:
    if room is not None and value.ByteSize() > MAX_STRUCT_BYTES:
        raise InvalidInput.field("", f"must have at most {MAX_STRUCT_BYTES} bytes")
    return from_struct(value)


def _read_datetime(value: Any) -> datetime:
    try:
        if not 0 <= value.nanos < 10**9:
            raise OverflowError
        return _EPOCH + timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)
    except OverflowError:
        raise InvalidInput.field("", "must be a time between the years 1 and 9999") from None


def _read_duration(value: Any) -> timedelta:
    if abs(value.seconds) > _MAX_SECONDS or abs(value.nanos) >= 10**9:
        raise InvalidInput.field("", "must be a duration within the allowed range")
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


@per_class
def _members(cls: type[enum.Enum]) -> dict[int, enum.Enum]:
    return {number: member for member, number in _numbers(cls).items()}


def enum_number(member: enum.Enum) -> Any:
    """The wire number of an enum member (an int, although stubs have a type per enum)."""
    return _numbers(type(member))[member]


def enum_member(cls: type[E], number: int, path: str = "") -> E | None:
    """The enum member of a wire number; None: unspecified.

    Raises:
        InvalidInput: The number is unknown.
    """
    if number == 0:
        return None
    member = _members(cls).get(number)
    if member is not None:
        return cast(E, member)
    names = ", ".join(str(member.value) for member in cls)
    raise InvalidInput.field(path, f"must be one of: {names}; not the unknown number {number}")


def to_struct(mapping: Mapping[str, Any]) -> struct_pb2.Struct:
    """Converts a mapping to a `Struct`."""
    struct = struct_pb2.Struct()
    struct.update(dict(mapping))
    return struct


def from_struct(struct: struct_pb2.Struct) -> dict[str, Any]:
    """Converts a `Struct` to a dict; whole numbers become int."""
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
    """Serializes an event, as the store keeps it."""
    return encode(event)


def decode_event(data: bytes) -> RunEvent:
    """The inverse of `encode_event`.

    Raises:
        DataLoss: The bytes are not a valid event.
    """
    return decode(RunEvent, data)


def encode(value: Any) -> bytes:
    """Serializes any dataclass that has a message."""
    return cast(bytes, to_message(value).SerializeToString(deterministic=True))


def decode(cls: type[T], data: bytes) -> T:
    """The inverse of `encode`.

    Raises:
        DataLoss: The bytes are not a valid message of this type.
    """
    return from_message(cls, parse(message_class(cast(type, cls))(), data))


def parse(message: M, data: bytes) -> M:
    """Reads stored bytes into an empty message, and returns the message.

    Raises:
        DataLoss: The bytes are not a valid message of this type.
    """
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        name = message.DESCRIPTOR.name
        raise DataLoss(f"a stored {name} cannot be decoded: {error}") from None
    return message
