"""Reads that tabs share."""

from __future__ import annotations

import asyncio

import pytest

from mentorgrad.errors import Unavailable
from ui_service.shared_reads import SharedReads


async def test_an_answer_serves_those_who_ask_meanwhile_and_soon_after() -> None:
    reads: SharedReads[bytes] = SharedReads(seconds=0.01)
    asked = 0
    go_on = asyncio.Event()

    async def read() -> bytes:
        nonlocal asked
        asked += 1
        await go_on.wait()
        return b"%d" % asked

    waiting = [asyncio.create_task(reads.get("key", read)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting.pop().cancel()  # a tab that goes away spoils nothing
    go_on.set()
    assert await asyncio.gather(*waiting) == [b"1", b"1"]
    assert await reads.get("other", read) == b"2"
    while await reads.get("key", read) == b"1":
        await asyncio.sleep(0.005)
    assert asked == 3


async def test_a_failure_is_told_to_all_and_not_kept_for_long() -> None:
    reads: SharedReads[bytes] = SharedReads(seconds=0.0)

    async def failing() -> bytes:
        raise Unavailable("no answer")

    async def answering() -> bytes:
        return b"here"

    found = await asyncio.gather(
        *(reads.get("key", failing) for _ in range(2)), return_exceptions=True
    )
    assert [type(error) for error in found] == [Unavailable, Unavailable]
    with pytest.raises(Unavailable):
        await reads.get("key", failing)
    while True:
        try:
            assert await reads.get("key", answering) == b"here"
        except Unavailable:
            await asyncio.sleep(0)
        else:
            break
