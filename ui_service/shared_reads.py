"""Reads that many tabs ask for at the same time: the trainer is asked once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")

SECONDS = 1.5
"""How long an answer serves further tabs; they poll every two seconds."""


class SharedReads(Generic[T]):
    """Answers equal reads with one call. For one event loop.

    Args:
        seconds: How long an answer is kept; 0: only those who ask meanwhile get it.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._reads: dict[Hashable, asyncio.Task[T]] = {}

    async def get(self, key: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """What a read returns or raises.

        Args:
            key: Equal for equal reads.
            read: Asks the trainer; called unless it is being asked or has just answered.
        """
        task = self._reads.get(key)
        if task is None:
            task = asyncio.ensure_future(_awaited(read))
            self._reads[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    def _forget(self, key: Hashable, done: asyncio.Task[T]) -> None:
        if not done.cancelled():
            done.exception()  # if all tabs have gone, nobody else looks at it
        asyncio.get_running_loop().call_later(self._seconds, self._reads.pop, key, None)


async def _awaited(read: Callable[[], Awaitable[T]]) -> T:
    return await read()
