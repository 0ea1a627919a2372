"""Messages in a large request are counted before it is read."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from mentorgrad.domain.advice import Batch
from mentorgrad.errors import InvalidInput
from mentorgrad.v1 import advice_pb2
from mentorgrad.v1 import mentor_service_pb2 as pb
from mentorgrad.wire.codec import MAX_ENTRIES
from service_common import decoding
from service_common.decoding import MAX_FIELDS, MAX_PLAIN_BYTES, decoder, validated

METHOD = "/mentorgrad.v1.MentorService/Propose"
MANY = MAX_ENTRIES + 1
FEW = 2_000
"""A lower limit, where it is not its size that matters: counting takes a while."""
PADDING = b"\x1a\x84\x80\x40" + b"\x0a\x80\x80\x40" + bytes(1 << 20)
"""A request_id of a megabyte, so that what stands beside it is counted."""


class Unread:
    """A message that must not be read."""

    DESCRIPTOR = pb.ProposeRequest.DESCRIPTOR

    @classmethod
    def FromString(cls, raw: bytes) -> Any:  # noqa: N802
        raise AssertionError("was read")


def read(raw: bytes, message: Any = Unread) -> Any:
    handler = SimpleNamespace(request_deserializer=message.FromString, request_streaming=False)
    decode, found = decoder(handler, METHOD), []

    async def reading() -> None:
        found.append(await decode(raw))

    asyncio.run(reading())
    return found[0]


def wrapped(number: int, data: bytes) -> bytes:
    size = bytearray()
    left = len(data)
    while left > 127:
        size.append(left & 127 | 128)
        left >>= 7
    return bytes([number << 3 | 2, *size, left]) + data


BATCHES = b"\x12\x00"
SNAPSHOTS = b"\x1a\x00"


@pytest.mark.slow
def test_too_many_messages_are_not_read() -> None:
    with pytest.raises(InvalidInput, match=f"at most {MAX_ENTRIES} nested messages") as caught:
        read(PADDING + BATCHES * MANY)
    assert caught.value.reason == "MESSAGE_TOO_LARGE"


@pytest.mark.parametrize(
    "raw",
    [
        wrapped(2, SNAPSHOTS * (FEW + 1)),
        wrapped(2, SNAPSHOTS * (FEW // 2)) * 2,
        wrapped(2, wrapped(5, b"\x5a\x00") * (FEW // 2)),
    ],
    ids=["in one", "in several", "deeper"],
)
def test_messages_count_wherever_they_stand(raw: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_ENTRIES", FEW)
    with pytest.raises(InvalidInput, match=f"at most {FEW} nested messages"):
        read(PADDING + raw)


@pytest.mark.slow
@pytest.mark.parametrize("field", [b"\x78\x01", b"\x7a\x00", b"\x7b\x7c"])
def test_too_many_fields_are_not_read(field: bytes) -> None:
    """Also if the message has no such fields, and the library would keep them apart."""
    with pytest.raises(InvalidInput, match=f"at most {MAX_FIELDS} fields") as caught:
        read(field * (MAX_FIELDS + 1))
    assert caught.value.reason == "MESSAGE_TOO_LARGE"


@pytest.mark.parametrize(
    "raw", [b"\x12", b"\x12\xff", b"\xff" * 40, b"\x12\x02\xff\xff", b"\x0f", b"\x12\x05\x0a\x10"]
)
def test_what_cannot_be_counted_is_malformed(raw: bytes) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(PADDING + raw, pb.ProposeRequest)
    assert caught.value.reason == "MALFORMED_MESSAGE"


def test_large_requests_with_few_messages_are_read() -> None:
    asked = pb.ProposeRequest()
    for _ in range(20):
        batch = asked.batches.add(seq=1)
        batch.snapshots.add(step=2, train_loss=0.5, text="some words")
        batch.parameters.data = bytes(100_000)
        batch.parameters.shape.extend([5, 5_000])
        batch.candidates.add(candidate_id="c", filled=[1, 2, 3])
    raw = asked.SerializeToString()
    assert len(raw) > 1 << 20
    assert read(raw, pb.ProposeRequest) == asked


@pytest.mark.parametrize(
    "shape", [wrapped(2, bytes(MANY)), wrapped(2, bytes(9)) * (MANY // 9 + 1)], ids=["one", "many"]
)
def test_too_many_numbers_are_not_read(shape: bytes) -> None:
    """Of the shape of a tensor: the library would make eight bytes of each."""
    with pytest.raises(
        InvalidInput, match=f"at most {MAX_ENTRIES} nested messages and numbers"
    ) as caught:
        read(PADDING + wrapped(2, wrapped(6, shape)))
    assert caught.value.reason == "MESSAGE_TOO_LARGE"


def test_a_stream_that_is_not_ours_takes_small_messages() -> None:
    handler = SimpleNamespace(request_deserializer=None, request_streaming=True)
    decode = decoder(handler, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")

    async def source() -> Any:
        yield bytes(MAX_PLAIN_BYTES + 1)

    async def reading() -> None:
        await anext(await decode(source()))

    with pytest.raises(InvalidInput, match=f"at most {MAX_PLAIN_BYTES} bytes"):
        asyncio.run(reading())


@pytest.mark.parametrize("count", [1, 10_000])
def test_a_large_message_is_converted_beside_the_loop(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    convert = decoding.from_message

    def converting(*args: Any, **options: Any) -> Any:
        threads.append(threading.current_thread())
        return convert(*args, **options)

    monkeypatch.setattr(decoding, "from_message", converting)
    message = advice_pb2.Batch(seq=1, snapshots=[advice_pb2.Batch().snapshots.add()] * count)
    batch = asyncio.run(validated(Batch, message))
    assert len(batch.snapshots) == count
    assert (threads == [threading.main_thread()]) == (count == 1)
