"""Decodes requests, and rejects malformed or too large ones with INVALID_ARGUMENT.

gRPC answers malformed requests with INTERNAL or UNKNOWN, as if the server were at fault. So the
handlers are registered for raw bytes, which are decoded here, inside the error interceptor.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError

from mentorgrad.errors import InvalidInput
from mentorgrad.wire.channels import MAX_MESSAGE_BYTES
from mentorgrad.wire.codec import MAX_ENTRIES, from_message
from service_common import shares

M = TypeVar("M")
T = TypeVar("T")

MAX_PLAIN_BYTES = 1024 * 1024
"""Maximum request size of a method with a single request that is not among `LARGE`."""

LARGE = frozenset(
    {"/mentorgrad.v1.MentorService/Propose", "/mentorgrad.v1.PredictService/PredictStream"}
)
"""Methods with tensors or many texts in their single request."""

MAX_FIELDS = 300_000
"""Maximum number of fields of a request and of the messages in it. Each takes two bytes or more."""

_COUNTED_BYTES = 2 * MAX_ENTRIES
"""Request size from which its fields and nested messages are counted, in a thread, before it is
decoded. An empty message takes two bytes encoded and about 130 decoded, so 8 MiB of them would take
half a gigabyte, and half a second in which nobody else is served."""

_CONVERTED_BYTES = 16 * 1024
"""Message size from which it is converted in a thread. 100,000 of the smallest items in a list take
0.4 s to convert."""

_FIELDS_AT_ONCE = 1_000
_PAUSE = 1e-5
"""Seconds to sleep after so many fields: the interpreter takes 5 ms to interrupt a thread, and a
call needs it several times."""

Decode = Callable[[Any], Awaitable[Any]]
"""Converts bytes to a message; for a request stream, an iterator to an iterator."""


def decoder(handler: Any, method: str) -> Decode:
    """Creates the decoder of a handler's requests.

    Args:
        handler: The registered handler, with its own deserializer.
        method: ``/package.Service/Method``.

    Returns:
        A function that raises `InvalidInput` with reason MALFORMED_MESSAGE or MESSAGE_TOO_LARGE.
    """
    parse: Callable[[bytes], Any] = handler.request_deserializer or bytes
    descriptor = getattr(getattr(parse, "__self__", None), "DESCRIPTOR", None)
    is_ours = method.startswith("/mentorgrad.")  # reflection takes names alone
    is_large = (handler.request_streaming and is_ours) or method in LARGE
    limit = MAX_MESSAGE_BYTES if is_large else MAX_PLAIN_BYTES

    async def counted(raw: bytes) -> bytes:
        if len(raw) > limit:
            raise _too_large(f"{limit} bytes, not {len(raw)}")
        if len(raw) > _COUNTED_BYTES and descriptor is not None:
            with _malformed():
                await asyncio.to_thread(_count, raw, descriptor)
        return raw

    def parsed(raw: bytes) -> Any:
        with _malformed():
            return parse(raw)

    async def read(raw: bytes) -> Any:
        return parsed(await counted(raw))

    async def read_in_turn(raw: bytes) -> bytes:
        await shares.turn(len(raw))
        return await counted(raw)

    async def read_stream(source: AsyncIterator[bytes]) -> Any:
        return DecodedRequests((await read_in_turn(raw) async for raw in source), parsed)

    return read_stream if handler.request_streaming else read


@contextlib.contextmanager
def _malformed() -> Iterator[None]:
    try:
        yield
    except (DecodeError, ValueError, RecursionError):
        raise InvalidInput(
            "the request cannot be decoded as the request message of this method",
            reason="MALFORMED_MESSAGE",
        ) from None


class DecodedRequests(AsyncIterator[M]):
    """The requests of a stream, decoded lazily.

    Args:
        raw: The encoded requests, counted; a handler may also consume these and decode them later.
        read: Decodes one request; raises as in `decoder`.
    """

    def __init__(self, raw: AsyncIterator[bytes], read: Callable[[bytes], M]) -> None:
        self.raw = aiter(raw)
        self.read = read

    async def __anext__(self) -> M:
        return self.read(await anext(self.raw))


async def validated(cls: type[T], message: Any, path: str = "") -> T:
    """Converts a part of a request to its dataclass, a large one in a thread, and validates it.

    Args:
        cls: The dataclass.
        message: Its message.
        path: Path of the message in the request, for error messages.

    Raises:
        InvalidInput: A value cannot be converted, or violates a limit.
    """
    convert = functools.partial(from_message, cls, message, path, checked=True)
    if message.ByteSize() > _CONVERTED_BYTES:
        return await asyncio.to_thread(convert)
    return convert()


def _too_large(limit: str) -> InvalidInput:
    return InvalidInput(
        f"a request of this method may have at most {limit}", reason="MESSAGE_TOO_LARGE"
    )


# -- counting -----------------------------------------------------------------------------------


def _count(raw: bytes, descriptor: Any) -> None:
    """Checks that an encoded request has at most `MAX_ENTRIES` nested messages and numbers in
    packed lists, and `MAX_FIELDS` fields. Stops at the first too many, so the time does not depend
    on what follows.

    Raises:
        InvalidInput: It has more.
        ValueError: The bytes are not a message.
    """
    left, fields = MAX_ENTRIES, MAX_FIELDS
    todo = [(0, len(raw), descriptor)]
    while todo:
        place, end, kind = todo.pop()
        inner = _lists_of(kind)
        while place < end:
            fields -= 1
            if fields < 0:
                raise _too_large(f"{MAX_FIELDS} fields")
            if fields % _FIELDS_AT_ONCE == 0:
                time.sleep(_PAUSE)
            tag = raw[place]
            place += 1
            if tag > 127:
                tag, place = _varint(raw, place - 1)
            if tag & 7 != 2:
                place = _after(raw, place, tag & 7)
                continue
            size, place = _varint(raw, place)
            if (entry := inner.get(tag >> 3)) is not None:
                is_number = isinstance(entry, int)
                left -= _numbers(raw[place : place + size], entry) if is_number else 1
                if left < 0:
                    raise _too_large(f"{MAX_ENTRIES} nested messages and numbers")
                if not is_number:
                    todo.append((place, min(place + size, end), entry))
            place += size


def _after(raw: bytes, place: int, wire_type: int) -> int:
    """The offset after a value that has no length of its own."""
    if wire_type == 0:
        return _varint(raw, place)[1]
    if wire_type in (1, 5):
        return place + (8 if wire_type == 1 else 4)
    if wire_type in (3, 4):  # beginning and end of a group
        return place
    raise ValueError(wire_type)


_FIXED = {
    FieldDescriptor.TYPE_DOUBLE: 8,
    FieldDescriptor.TYPE_FIXED64: 8,
    FieldDescriptor.TYPE_SFIXED64: 8,
    FieldDescriptor.TYPE_FLOAT: 4,
    FieldDescriptor.TYPE_FIXED32: 4,
    FieldDescriptor.TYPE_SFIXED32: 4,
}
"""Type of a number of a fixed size → its bytes."""

_GOES_ON = bytes(range(128, 256))
"""The bytes of a varint but for its last."""


def _numbers(packed: bytes, size: int) -> int:
    """How many numbers a packed list has, whose numbers have this size in bytes; 0: varints."""
    return len(packed) // size if size else len(packed.translate(None, _GOES_ON))


@functools.cache
def _lists_of(descriptor: Any) -> dict[int, Any]:
    """Field number → message descriptor, or bytes of a number (0: a varint), for the fields that
    hold messages or packed numbers."""
    messages = {
        field.number: field.message_type
        for field in descriptor.fields
        if field.type == FieldDescriptor.TYPE_MESSAGE
    }
    numbers = {
        field.number: _FIXED.get(field.type, 0) for field in descriptor.fields if field.is_packed
    }
    return messages | numbers


def _varint(raw: bytes, place: int) -> tuple[int, int]:
    """Decodes a varint; returns its value and the offset after it."""
    number = shift = 0
    while shift < 64 and place < len(raw):
        byte = raw[place]
        place += 1
        if byte < 128:
            return number | byte << shift, place
        number |= (byte & 127) << shift
        shift += 7
    raise ValueError(place)
