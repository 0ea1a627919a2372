"""Working through a stream, some messages in a row."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

_MESSAGES = 16
"""Most messages that wait to be worked on in a row."""

_BYTES = 1024 * 1024
"""Most bytes of them, but for a single message."""

_WAITING_SECONDS = 0.02
"""Longest time for which a message waits for others."""

_WORKING_SECONDS = 0.005
"""Time after which the loop has a turn, whatever still waits: others want to be answered."""

Work = Callable[[bytes], None]


async def in_batches(source: AsyncIterator[bytes], admit: Work, work: Work) -> None:
    """Works on each message of a stream, some in a row, while the next one is on its way.

    A message is asked for only when the one before it is taken, so whoever works first lets the
    transport, which has threads of its own, stand idle meanwhile; and whoever works after every
    single one finds the processor's caches full of what those threads did.

    Args:
        source: The stream.
        admit: Told of each message when it comes; may refuse it.
        work: Done in order, soon after a message came, and before this returns.

    Raises:
        Exception: What the first message to be wrong brought about, or what the source raises.
    """
    pending = _PendingMessages(work)

    async def read() -> None:
        try:
            async for message in source:
                admit(message)
                if pending.are_full(len(message)):  # the loop has not come to them
                    await pending.work_off()
                pending.put(message)
        except Exception:
            await pending.work_off()  # something before that may have been wrong
            raise
        await pending.work_off()

    pending.reading = asyncio.ensure_future(read())
    try:
        await pending.reading
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if pending.error is not None and not (task and task.cancelling()):
            raise pending.error from None
        raise
    finally:
        pending.close()


class _PendingMessages:
    """Messages that came and are not worked on yet.

    Args:
        work: What is to be done with each.
    """

    def __init__(self, work: Work) -> None:
        self.reading: asyncio.Future[None] | None = None
        """Waits for more; cut short when something is wrong."""
        self.error: Exception | None = None
        """What is wrong."""
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._waiting = deque[bytes]()
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def are_full(self, more: int = 0) -> bool:
        """Whether there are enough to work on, or would be with so many bytes more."""
        return len(self._waiting) >= _MESSAGES or self._bytes + more > _BYTES

    def put(self, message: bytes) -> None:
        """One more."""
        self._waiting.append(message)
        self._bytes += len(message)
        if self.are_full():
            self._loop.call_soon(self._pass_by)
        elif self._timer is None:
            self._timer = self._loop.call_later(_WAITING_SECONDS, self._pass_by)

    async def work_off(self) -> None:
        """Works on all that wait; after an error raises that again."""
        self._work_for_a_while()
        while self._waiting:
            await asyncio.sleep(0)
            self._work_for_a_while()

    def _pass_by(self) -> None:
        try:
            self._work_for_a_while()
        except Exception:
            if self.reading is not None:
                self.reading.cancel()
        else:
            if self._waiting:
                self._loop.call_soon(self._pass_by)

    def _work_for_a_while(self) -> None:
        self._stop_timer()
        if self.error is not None:
            raise self.error
        until = self._loop.time() + _WORKING_SECONDS
        try:
            while self._waiting:
                message = self._waiting.popleft()
                self._bytes -= len(message)
                self._work(message)
                if self._loop.time() > until:
                    break
        except Exception as error:
            self.error = error
            raise

    def close(self) -> None:
        """Works on nothing any more, and forgets the error, whose frames hold all this."""
        self._stop_timer()
        self._waiting.clear()
        self.reading = self.error = None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
