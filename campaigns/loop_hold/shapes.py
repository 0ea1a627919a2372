"""Requests as large, as nested and of as many fields as a service may have to look at.

The bytes of a request may be followed by those of some of its fields, which are then merged: so a
valid request stays valid but for one field, and the service looks at it as closely as it can.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor as F

from campaigns.fuzz.cases import Case, wrapped
from campaigns.fuzz.methods import Method
from campaigns.fuzz.valid import VALID
from mentorgrad.wire.channels import MAX_MESSAGE_BYTES
from mentorgrad.wire.codec import MAX_ENTRIES
from service_common.decoding import LARGE, MAX_FIELDS, MAX_PLAIN_BYTES

_DEPTH = 6
"""Messages in messages in which fields are looked for."""

_ROOM = 4_000
"""Bytes of a request that are left for what is around its largest field."""

_NESTED = 90
"""Levels of a message in itself; the reader takes 100."""

Path = tuple[F, ...]
"""The fields from a request to one in it."""


def plain(method: Method) -> list[tuple[bytes, ...]]:
    """Valid requests, as callers send them; empty ones for a method of others."""
    return [
        tuple(message.SerializeToString() for message in messages)
        for messages in VALID.get(method.short, [])
    ] or [(b"",)]


def worst(method: Method, most: int, numbers: random.Random) -> list[tuple[str, Case]]:
    """At most so many of the worst requests of a method, at random, each with what it is."""
    limit = MAX_MESSAGE_BYTES if method.many_in or method.path in LARGE else MAX_PLAIN_BYTES
    found = list(_blown(method.request, limit - _ROOM))
    bases = VALID.get(method.short, [[]])
    made = []
    for name, number, data in numbers.sample(found, min(most, len(found))):
        messages = numbers.choice(bases)
        before = [message.SerializeToString() for message in messages]
        place = _place(messages, number)
        start = before[place] if before and len(before[place]) < _ROOM else b""
        made.append(
            (name, Case(method, "plain", (*before[:place], start + data, *before[place + 1 :])))
        )
    return made


def _place(messages: Sequence[Any], number: int) -> int:
    """Which message of a stream has that field: the last one, or the first if none has."""
    having = [
        place
        for place, message in enumerate(messages)
        if any(field.number == number for field, _ in message.ListFields())
    ]
    return having[-1] if having else 0


def _blown(descriptor: Any, room: int) -> Iterator[tuple[str, int, bytes]]:
    """What a field can be at its worst: its name, number in the request, and bytes in it."""
    unknown = b"\x78\x01"  # of number 15, which no request has
    yield "fields that are unknown", 15, unknown * min(MAX_FIELDS - 2_000, room // 2)
    yield "too many fields that are unknown", 15, unknown * (room // 2)
    for path in _paths(descriptor):
        for kind, data in _fillings(path[-1], room):
            for field in reversed(path[:-1]):
                data = wrapped(field, data)
            if len(data) < room + _ROOM // 2:
                name = ".".join(field.name for field in path)
                yield f"{kind} in {name}", path[0].number, data


def _paths(descriptor: Any, before: Path = ()) -> Iterator[Path]:
    for field in descriptor.fields:
        seen = [above.message_type for above in before]
        yield (*before, field)
        kind = field.message_type
        if kind is not None and len(before) < _DEPTH and kind not in seen and not _is_map(field):
            yield from _paths(kind, (*before, field))


def _is_map(field: F) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _fillings(field: F, room: int) -> Iterator[tuple[str, bytes]]:
    many = MAX_ENTRIES - 1_000
    if _is_map(field):
        yield "keys", b"".join(_entries(field, min(many, room // 16)))
    elif field.message_type is not None:
        empty = wrapped(field, b"")
        yield "messages", empty * min(many, room // len(empty))
        yield "too many messages", empty * (room // len(empty))
        yield from _nested(field)
    elif field.type in (F.TYPE_STRING, F.TYPE_BYTES):
        if field.is_repeated:
            empty = wrapped(field, b"")
            yield "empty texts", empty * min(many, room // len(empty))
            yield "too many empty texts", empty * (room // len(empty))
            some = wrapped(field, b"some text")
            yield "short texts", some * min(many, room // len(some))
        yield "one text", wrapped(field, b"x" * room)
        yield "one text of four bytes each", wrapped(field, "🔥".encode() * (room // 4))
    elif field.is_repeated:
        size = {F.TYPE_DOUBLE: 8, F.TYPE_FLOAT: 4}.get(field.type, 1)
        number = b"\x01" if size == 1 else bytes(size)
        yield "numbers", wrapped(field, number * min(many, room // size))
        yield "too many numbers", wrapped(field, number * (room // size))


def _entries(field: F, count: int) -> Iterator[bytes]:
    key = field.message_type.fields_by_name["key"]
    for number in range(count):
        yield wrapped(field, wrapped(key, b"%d" % number) if key.type == F.TYPE_STRING else b"")


def _nested(field: F) -> Iterator[tuple[str, bytes]]:
    """A message that can hold its own kind, as deep as is read, as often as there is room."""
    for inner in field.message_type.fields:
        if inner.message_type is None or inner.message_type.GetOptions().map_entry:
            continue
        for again in inner.message_type.fields:
            if again.message_type is field.message_type:
                data = b""
                for _ in range(_NESTED // 2):
                    data = wrapped(inner, wrapped(again, data))
                deep = wrapped(field, data)
                yield "messages in each other", deep * (MAX_ENTRIES // (_NESTED + 1) - 1)
