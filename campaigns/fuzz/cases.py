"""What is sent: one case is a method, bytes, and a way of sending them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor as F
from hypothesis import strategies as st

from campaigns.fuzz.methods import Method
from campaigns.fuzz.valid import VALID
from campaigns.fuzz.values import MAX_DEPTH, messages, put
from mentorgrad.wire.channels import MAX_MESSAGE_BYTES


@dataclass(frozen=True)
class Case:
    """One call."""

    method: Method
    how: str
    """``plain``, ``gzip``, ``cancel``, ``unread`` or ``as_stream``."""
    requests: tuple[bytes, ...]
    """Messages in the order of sending; exactly one for a method that takes one."""

    def reproducer(self) -> dict[str, Any]:
        """All that it takes to send it again; see `python -m campaigns.fuzz --replay`."""
        data = [base64.b64encode(item).decode() for item in self.requests]
        return {"server": self.method.server, "method": self.method.path, "how": self.how} | {
            "requests": data
        }


_HOWS = st.sampled_from(["plain"] * 12 + ["gzip", "cancel", "unread", "as_stream"])


@st.composite
def generated(draw: Any, method: Method) -> Case:
    """Any messages at all."""
    count = draw(st.sampled_from([0, 1, 2, 3])) if method.many_in else 1
    made = [draw(messages(method.request)) for _ in range(count)]
    return _case(draw, method, [_encoded(message) for message in made])


@st.composite
def spoilt(draw: Any, method: Method) -> Case:
    """Right messages with one to three things changed; streams also in another order."""
    given = draw(st.sampled_from(VALID[method.short]))
    made = [type(message).FromString(message.SerializeToString()) for message in given]
    for _ in range(draw(st.integers(0, 3))):
        _spoil(draw, made[draw(st.integers(0, len(made) - 1))])
    if method.many_in:
        made = _rearranged(draw, made)
    return _case(draw, method, [_encoded(message) for message in made])


def _rearranged(draw: Any, made: list[Any]) -> list[Any]:
    change = draw(st.sampled_from(["none", "none", "none", "drop", "repeat", "swap", "cut"]))
    first, second = (draw(st.integers(0, len(made) - 1)) for _ in range(2))
    if change == "drop":
        return made[:first] + made[first + 1 :]
    if change == "repeat":
        return made[:first] + [made[first]] * draw(st.sampled_from([2, 5, 70])) + made[first:]
    if change == "swap":
        made[first], made[second] = made[second], made[first]
    return made[:first] if change == "cut" else made


def _spoil(draw: Any, message: Any, depth: int = 0) -> None:
    """Changes one field, here or further down in what is set."""
    fields = list(message.DESCRIPTOR.fields)
    if not fields:
        return
    inner = [
        field
        for field, _ in message.ListFields()
        if field.cpp_type == F.CPPTYPE_MESSAGE and not field.message_type.GetOptions().map_entry
    ]
    if inner and draw(st.integers(0, 3)):
        field = draw(st.sampled_from(inner))
        below = getattr(message, field.name)
        if field.is_repeated:
            below = below[draw(st.integers(0, len(below) - 1))]
        _spoil(draw, below, depth + 1)
        return
    field = draw(st.sampled_from(fields))
    if draw(st.integers(0, 4)) == 0:
        message.ClearField(field.name)
    else:
        put(draw, message, field, min(depth, MAX_DEPTH - 2))


@st.composite
def raw(draw: Any, method: Method) -> Case:
    """Bytes that are no message, or hardly one."""
    kinds = ["noise", "cut", "flipped", "many", "deep", "valid_then_noise"]
    kind = draw(st.sampled_from([*kinds * 4, "oversized"]))
    if kind == "oversized":
        data = [bytes(MAX_MESSAGE_BYTES + 1)]
    elif kind == "noise":
        data = [draw(st.binary(max_size=200))]
    elif kind == "many":
        data = [_blown(draw, method.request)]
    elif kind == "deep":
        data = [_deep(draw, method.request)]
    else:
        base = draw(spoilt(method) if method.short in VALID else generated(method)).requests
        data = list(base) or [b""]
        spot = draw(st.integers(0, len(data) - 1))
        data[spot] = _damaged(draw, kind, data[spot])
    return _case(draw, method, data if method.many_in else data[:1])


def _damaged(draw: Any, kind: str, data: bytes) -> bytes:
    if not data or kind == "valid_then_noise":
        return data + draw(st.binary(min_size=1, max_size=30))
    place = draw(st.integers(0, len(data) - 1))
    if kind == "cut":
        return data[:place]
    return data[:place] + bytes([draw(st.integers(0, 255))]) + data[place + 1 :]


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def wrapped(field: F, data: bytes) -> bytes:
    return varint(field.number << 3 | 2) + varint(len(data)) + data


def _blown(draw: Any, descriptor: Any) -> bytes:
    """Very many empty entries of a list, two or so bytes each, somewhere in the message."""
    path: list[F] = []
    for _ in range(draw(st.integers(1, 4))):
        below = [
            field
            for field in descriptor.fields
            if field.cpp_type in (F.CPPTYPE_MESSAGE, F.CPPTYPE_STRING) or field.is_repeated
        ]
        if not below:
            break
        path.append(draw(st.sampled_from(below)))
        if path[-1].message_type is None:
            break
        descriptor = path[-1].message_type
    if not path:
        return b""
    data = varint(path[-1].number << 3 | 2) + b"\0"
    data *= draw(st.sampled_from([70, 70, 1_100, 1_100, 20_000, 500_000]))
    for field in reversed(path[:-1]):
        data = wrapped(field, data)
    return data


def heaviest(methods: Sequence[Method]) -> list[Case]:
    """What takes the most memory to read; sent once at the start, so that it is there already when
    memory is first measured."""
    found = []
    for method in methods:
        if method.short in VALID and (method.many_in or method.name == "Propose"):
            field = next(f for f in method.request.fields if f.cpp_type == F.CPPTYPE_MESSAGE)
            empty = varint(field.number << 3 | 2) + b"\0"
            found.append(Case(method, "plain", (empty * (MAX_MESSAGE_BYTES // len(empty)),)))
            nested = (f for f in field.message_type.fields if f.cpp_type == F.CPPTYPE_MESSAGE)
            if (inner := next(nested, None)) is None:
                continue
            empty = varint(inner.number << 3 | 2) + b"\0"
            many = wrapped(field, empty * (MAX_MESSAGE_BYTES // 3))
            found.append(Case(method, "plain", (many,)))
    return found


def _deep(draw: Any, descriptor: Any) -> bytes:
    """A field in itself, deeper than any reader goes."""
    tag = varint(draw(st.integers(1, 6)) << 3 | 2)
    data = b""
    for _ in range(draw(st.sampled_from([40, 99, 101, 400]))):
        data = tag + varint(len(data)) + data
    return data


def _case(draw: Any, method: Method, requests: list[bytes]) -> Case:
    return Case(method, draw(_HOWS), tuple(requests))


def _encoded(message: Any) -> bytes:
    try:
        return bytes(message.SerializeToString())
    except Exception:  # nested too deeply for the writer; `raw` sends such bytes
        return b""
