"""A background event loop in its own thread, for the blocking clients."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future, wait
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

T = TypeVar("T")
P = ParamSpec("P")
Inner = TypeVar("Inner")
InnerCo = TypeVar("InnerCo", covariant=True)

_CANCEL_SECONDS = 5.0
"""Maximum time to wait for an interrupted call to end, seconds."""


class BackgroundLoop:
    """An event loop in its own thread, shared by all blocking clients of the process.

    grpc.aio has one poller per process, so there is one loop. It is reference-counted: it runs
    from the first `acquire` to the last `release`.
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
        """Returns the shared loop, started if necessary; the caller must `release` it."""
        with cls._guard:
            if cls._shared is None:
                cls._shared = cls()
            cls._shared._holders += 1
            return cls._shared

    def release(self) -> None:
        """Releases the loop; the last release stops it."""
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
        """Runs a coroutine and returns its result; an interrupt of the caller cancels it.

        An interrupt may occur between any two instructions of the caller, so the task to cancel is
        recorded in the loop's thread, where interrupts do not occur.
        """
        outcome: Future[T] = Future()
        tasks: list[asyncio.Task[T]] = []

        def start() -> None:
            task = self._loop.create_task(coroutine)
            task.add_done_callback(partial(_settle, outcome))
            tasks.append(task)

        def cancel() -> None:
            if not tasks:  # the interrupt came before `start` was scheduled
                coroutine.close()
                outcome.set_exception(CancelledError())
            for task in tasks:
                task.cancel()

        try:
            self._loop.call_soon_threadsafe(start)
            return outcome.result()
        except BaseException:
            if not outcome.done():  # let the coroutine release its resources first
                self._loop.call_soon_threadsafe(cancel)
                wait([outcome], _CANCEL_SECONDS)
            raise

    def iterate(self, source: AsyncIterator[T]) -> Iterator[T]:
        """Converts an async generator to a blocking one; closing it early closes the source."""
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


class OnLoop(Protocol[InnerCo]):
    """A blocking object whose calls an asyncio object executes on the background loop."""

    def _on_loop(self) -> tuple[BackgroundLoop, InnerCo]:
        """The loop and the asyncio object; raises an error if the blocking one is not open."""
        ...


def blocking(
    method: Callable[Concatenate[Inner, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[OnLoop[Inner], P], T]:
    """The blocking counterpart of a coroutine method, with its parameters and docstring."""

    @wraps(method)
    def call(self: OnLoop[Inner], /, *args: P.args, **kwargs: P.kwargs) -> T:
        loop, inner = self._on_loop()
        return loop.run(method(inner, *args, **kwargs))

    return call


def iterating(
    method: Callable[Concatenate[Inner, P], AsyncIterator[T]],
) -> Callable[Concatenate[OnLoop[Inner], P], Iterator[T]]:
    """The blocking counterpart of an async generator method."""

    @wraps(method)
    def call(self: OnLoop[Inner], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        loop, inner = self._on_loop()
        return loop.iterate(method(inner, *args, **kwargs))

    return call


def _settle(outcome: Future[T], task: asyncio.Task[T]) -> None:
    """Passes the result of a task to the thread that waits for it."""
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
