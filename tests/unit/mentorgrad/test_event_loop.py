"""The background loop under interrupts, which may come between any two instructions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from mentorgrad.client import BackgroundLoop


@pytest.fixture
def loop() -> Iterator[BackgroundLoop]:
    held = BackgroundLoop.acquire()
    yield held
    held.release()


class Source:
    """Numbers without end, each after a wait too long to be waited for but the first."""

    def __init__(self) -> None:
        self.closed = False

    async def numbers(self) -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(60)
            yield 2
        finally:
            self.closed = True


@pytest.mark.parametrize("handed_over", [True, False], ids=["after", "before"])
def test_an_interrupt_while_a_call_is_handed_over_closes_the_source(
    loop: BackgroundLoop, monkeypatch: pytest.MonkeyPatch, handed_over: bool
) -> None:
    source = Source()
    numbers = loop.iterate(source.numbers())
    assert next(numbers) == 1
    soon = loop._loop.call_soon_threadsafe

    def interrupted(callback: Callable[..., Any], *rest: Any) -> None:
        monkeypatch.undo()
        if handed_over:
            soon(callback, *rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop._loop, "call_soon_threadsafe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(numbers)
    assert source.closed


def test_what_a_coroutine_raises_reaches_the_caller(loop: BackgroundLoop) -> None:
    async def fails() -> None:
        raise ValueError("so")

    with pytest.raises(ValueError, match="so"):
        loop.run(fails())
