"""Messages of a stream are worked on in order, in short rows, and never long after they came."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_service.control_plane import stream_batching
from trainer_service.control_plane.stream_batching import in_batches


class WrongError(Exception):
    """What a message is, by its number."""


def numbered(count: int, size: int = 4) -> list[bytes]:
    return [number.to_bytes(4, "big").ljust(size, b"-") for number in range(count)]


def number_of(message: bytes) -> int:
    return int.from_bytes(message[:4], "big")


async def sending(messages: list[bytes], pauses: set[int] | None = None) -> AsyncIterator[bytes]:
    """The messages; before those that are in `pauses` the loop has a turn, by default each."""
    for number, message in enumerate(messages):
        if pauses is None or number in pauses:
            await asyncio.sleep(0)
        yield message


def admit(message: bytes) -> None:
    """Any message."""


@given(
    sizes=st.lists(st.sampled_from([4, 100, 3_000, 9_000]), max_size=60),
    pauses=st.sets(st.integers(0, 60)),
)
async def test_every_message_is_worked_on_once_and_in_order(
    sizes: list[int], pauses: set[int]
) -> None:
    done: list[bytes] = []
    messages = [number.to_bytes(4, "big").ljust(size, b"-") for number, size in enumerate(sizes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream_batching, "_BYTES", 8_000)
        await in_batches(sending(messages, pauses), admit, done.append)
    assert done == messages


@given(
    wrong=st.integers(0, 40),
    refused=st.integers(0, 40),
    ends=st.integers(0, 40),
    pauses=st.sets(st.integers(0, 40)),
)
async def test_the_first_message_that_is_wrong_is_named(
    wrong: int, refused: int, ends: int, pauses: set[int]
) -> None:
    """Wherever that comes to light: as it comes, in the work on it, or in the stream."""
    done: list[int] = []

    async def source() -> AsyncIterator[bytes]:
        async for message in sending(numbered(ends), pauses):
            yield message
        raise WrongError(ends)

    def limited(message: bytes) -> None:
        if number_of(message) == refused:
            raise WrongError(refused)

    def work(message: bytes) -> None:
        if number_of(message) == wrong:
            raise WrongError(wrong)
        done.append(number_of(message))

    first = min(wrong, refused, ends)
    with pytest.raises(WrongError, match=f"^{first}$"):
        await in_batches(source(), limited, work)
    assert done == list(range(first))


@pytest.mark.parametrize(("count", "size"), [(100, 4), (100, 200_000), (5, 3_000_000)])
async def test_few_messages_are_worked_on_in_a_row_and_few_wait(count: int, size: int) -> None:
    came = rows = done = 0
    longest = most = 0

    def came_one(message: bytes) -> None:
        nonlocal came, rows, most
        came, rows = came + 1, 0
        most = max(most, came - done)

    def work(message: bytes) -> None:
        nonlocal done, rows, longest
        done, rows = done + 1, rows + 1
        longest = max(longest, rows)

    await in_batches(sending(numbered(count, size)), came_one, work)
    assert done == count
    limit = max(1, min(stream_batching._MESSAGES, stream_batching._BYTES // size + 1))
    assert min(2, limit) <= longest <= limit
    assert most <= limit + 1


async def test_a_message_is_worked_on_while_the_next_one_is_on_its_way() -> None:
    order: list[str] = []

    async def slowly() -> AsyncIterator[bytes]:
        for message in numbered(3):
            number = number_of(message)
            order.append(f"asked for {number}")
            while number and f"did {number - 1}" not in order:
                await asyncio.sleep(0)
            yield message

    await in_batches(slowly(), admit, lambda message: order.append(f"did {number_of(message)}"))
    assert order == ["asked for 0", "asked for 1", "did 0", "asked for 2", "did 1", "did 2"]


async def test_what_is_wrong_is_said_when_no_more_comes() -> None:
    """A sender may wait for the answer."""

    async def waits() -> AsyncIterator[bytes]:
        yield b"wrong"
        await asyncio.sleep(3600)

    def work(message: bytes) -> None:
        raise WrongError

    with pytest.raises(WrongError):
        await asyncio.wait_for(in_batches(waits(), admit, work), 120)


async def test_whoever_wants_the_loop_has_turns_between_slow_messages() -> None:
    """Messages that take long are not worked on in a row, however they come."""
    turns = at_most = since = 0

    async def other() -> None:
        nonlocal turns, since
        while True:
            turns, since = turns + 1, 0
            await asyncio.sleep(0)

    def work(message: bytes) -> None:
        nonlocal since, at_most
        since += 1
        at_most = max(at_most, since)
        time.sleep(1.1 * stream_batching._WORKING_SECONDS)

    task = asyncio.ensure_future(other())
    await in_batches(sending(numbered(40), pauses=set()), admit, work)
    task.cancel()
    assert at_most <= 2
    assert turns >= 20


@pytest.mark.slow
async def test_nothing_is_worked_on_any_more_when_it_was_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_batching, "_WAITING_SECONDS", 0.3)
    done: list[bytes] = []
    came = asyncio.Event()

    async def waits() -> AsyncIterator[bytes]:
        yield b"late"
        await asyncio.sleep(60)

    task = asyncio.ensure_future(in_batches(waits(), lambda _: came.set(), done.append))
    await came.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(2 * stream_batching._WAITING_SECONDS)
    assert not done
