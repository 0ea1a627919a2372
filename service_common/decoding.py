"""Decodes requests, and rejects malformed or too large ones with INVALID_ARGUMENT.

gRPC answers malformed requests with INTERNAL or UNKNOWN, as if the server were at fault. So the
handlers are registered for raw bytes, which are decoded here, inside the error interceptor.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError

from mentorgrad.errors import InvalidInput
from mentorgrad.wire.channels import MAX_MESSAGE_BYTES
from mentorgrad.wire.codec import MAX_ENTRIES

M = TypeVar("M")

MAX_PLAIN_BYTES = 1024 * 1024
"""Maximum request size of a method with a single request that is not among `_LARGE`."""

_LARGE = frozenset(
    {"/mentorgrad.v1.MentorService/Propose", "/mentorgrad.v1.PredictService/PredictStream"}
)
"""Methods with tensors or many texts in their request."""

_COUNTED_BYTES = 1024 * 1024
"""Request size from which the nested messages are counted before decoding: an empty message takes
two bytes encoded and about 130 decoded, so 8 MiB of them would take half a gigabyte."""

Decode = Callable[[Any], Any]
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
    many = handler.request_streaming
    limit = MAX_MESSAGE_BYTES if many or method in _LARGE else MAX_PLAIN_BYTES

    def read(raw: bytes) -> Any:
        if len(raw) > limit:
            raise _too_large(f"{limit} bytes, not {len(raw)}")
        try:
            if len(raw) > _COUNTED_BYTES and descriptor is not None:
                _count(raw, descriptor)
            return parse(raw)
        except (DecodeError, ValueError, RecursionError):
            raise InvalidInput(
                "the request cannot be decoded as the request message of this method",
                reason="MALFORMED_MESSAGE",
            ) from None

    return (lambda source: DecodedRequests(source, read)) if many else read


class DecodedRequests(AsyncIterator[M]):
    """The requests of a stream, decoded lazily.

    Args:
        raw: The encoded requests; a handler may also consume these and decode them later.
        read: Decodes one request; raises as in `decoder`.
    """

    def __init__(self, raw: AsyncIterator[bytes], read: Callable[[bytes], M]) -> None:
        self.raw = aiter(raw)
        self.read = read

    async def __anext__(self) -> M:
        return self.read(await anext(self.raw))


def _too_large(limit: str) -> InvalidInput:
    return InvalidInput(
        f"a request of this method may have at most {limit}", reason="MESSAGE_TOO_LARGE"
    )


# -- counting -----------------------------------------------------------------------------------


def _count(raw: bytes, descriptor: Any) -> None:
    """Checks that an encoded request has at most `MAX_ENTRIES` nested messages.

    Raises:
        InvalidInput: It has more.
        ValueError: The bytes are not a message.
    """
    left = MAX_ENTRIES
    todo = [(0, len(raw), descriptor)]
    while todo:
        start, end, kind = todo.pop()
        inner = _messages_of(kind)
        for number, begin, stop in _pieces(raw, start, end):
            if number in inner:
                todo.append((begin, stop, inner[number]))
                left -= 1
                if left < 0:
                    raise _too_large(f"{MAX_ENTRIES} nested messages")


@functools.cache
def _messages_of(descriptor: Any) -> dict[int, Any]:
    """Field number → message descriptor, for the fields that hold messages."""
    return {
        field.number: field.message_type
        for field in descriptor.fields
        if field.type == FieldDescriptor.TYPE_MESSAGE
    }


def _pieces(raw: bytes, place: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yields number, start and end of each length-delimited field of a message."""
    while place < end:
        tag, place = _varint(raw, place)
        wire_type = tag & 7
        if wire_type == 2:
            size, place = _varint(raw, place)
            yield tag >> 3, place, min(place + size, end)
            place += size
        elif wire_type == 0:
            _, place = _varint(raw, place)
        elif wire_type in (1, 5):
            place += 8 if wire_type == 1 else 4
        elif wire_type not in (3, 4):  # groups have no length
            raise ValueError(wire_type)


def _varint(raw: bytes, place: int) -> tuple[int, int]:
    """Decodes a varint; returns its value and the offset after it."""
    number = shift = 0
    while True:
        if place >= len(raw) or shift > 63:
            raise ValueError(place)
        byte = raw[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place
        shift += 7
