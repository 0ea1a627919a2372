"""One event loop in a thread of its own, for code that has none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import CancelledError, Future, wait
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

_CANCEL_SECONDS = 5.0
"""Longest wait for an interrupted call to end."""


class BackgroundLoop:
    """An event loop in a thread of its own, shared by all facades of the process.

    grpc's asyncio has one poller a process, so there is one loop; it runs while somebody holds it.
    """

    _shared: BackgroundLoop | None = None
    _guard = threading.Lock()

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._holders = 0
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="mentorgrad-client", daemon=True
        )
        self._thread.start()

    @classmethod
    def acquire(cls) -> BackgroundLoop:
        """The running loop, started if there is none; `release` it."""
        with cls._guard:
            if cls._shared is None:
                cls._shared = cls()
            cls._shared._holders += 1
            return cls._shared

    def release(self) -> None:
        """Gives the loop back; the last holder's release stops it."""
        with self._guard:
            self._holders -= 1
            if self._holders > 0:
                return
            type(self)._shared = None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine to its end; an interrupt of the caller cancels it.

        An interrupt may come between any two instructions, so what must be cancelled is noted on
        the loop, where no interrupt arrives.
        """
        outcome: Future[T] = Future()
        tasks: list[asyncio.Task[T]] = []

        def start() -> None:
            task = self._loop.create_task(coroutine)
            task.add_done_callback(partial(_settle, outcome))
            tasks.append(task)

        def cancel() -> None:
            if not tasks:  # the interrupt came before the start was handed over
                coroutine.close()
                outcome.set_exception(CancelledError())
            for task in tasks:
                task.cancel()

        try:
            self._loop.call_soon_threadsafe(start)
            return outcome.result()
        except BaseException:
            if not outcome.done():  # what the coroutine holds must be free before we go on
                self._loop.call_soon_threadsafe(cancel)
                wait([outcome], _CANCEL_SECONDS)
            raise

    def iterate(self, source: AsyncIterator[T]) -> Iterator[T]:
        """An asynchronous generator as a plain one; leaving it early closes it."""
        try:
            while True:
                try:
                    item = self.run(_next(source))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            if not self._loop.is_closed():
                self.run(_close(source))


def _settle(outcome: Future[T], task: asyncio.Task[T]) -> None:
    """Hands what became of a task to whoever waits for it in another thread."""
    if task.cancelled():
        outcome.set_exception(CancelledError())
    elif (error := task.exception()) is not None:
        outcome.set_exception(error)
    else:
        outcome.set_result(task.result())


async def _next(source: AsyncIterator[T]) -> T:
    return await anext(source)


async def _close(source: AsyncIterator[Any]) -> None:
    close = getattr(source, "aclose", None)
    if close is not None:
        await close()
