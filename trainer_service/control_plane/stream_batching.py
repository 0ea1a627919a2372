"""Processes a request stream in small batches while it is being received."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

_MESSAGES = 16
"""Maximum number of messages per batch."""

_BYTES = 1024 * 1024
"""Maximum bytes per batch; a single message may be larger."""

_WAITING_SECONDS = 0.02
"""Maximum time that a message waits for its batch to fill."""

_WORKING_SECONDS = 0.005
"""Maximum time of processing before control returns to the event loop for other calls."""

Work = Callable[[bytes], None]


async def in_batches(source: AsyncIterator[bytes], admit: Work, work: Work) -> None:
    """Processes the messages of a stream in batches while the next messages are received.

    gRPC fetches a message only after the previous one was taken. Processing each message before
    taking the next would leave the transport's threads idle; processing after every single message
    would also alternate the CPU caches between both.

    Args:
        source: The stream.
        admit: Called with each message on arrival; may reject it by raising.
        work: Called with each message in order, soon after its arrival and before this returns.

    Raises:
        Exception: The first error of `admit`, `work` or the source.
    """
    pending = _PendingMessages(work)

    async def read() -> None:
        try:
            async for message in source:
                admit(message)
                if pending.are_full(len(message)):  # the scheduled processing has not run yet
                    await pending.work_off()
                pending.put(message)
        except Exception:
            await pending.work_off()  # an earlier message may have failed first
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
    """Messages that were received but not processed yet.

    Args:
        work: Called with each message.
    """

    def __init__(self, work: Work) -> None:
        self.reading: asyncio.Future[None] | None = None
        """The task that reads the stream; cancelled if processing fails."""
        self.error: Exception | None = None
        """The first error of `work`."""
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._waiting = deque[bytes]()
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def are_full(self, more: int = 0) -> bool:
        """Whether the batch is full, or would be with `more` further bytes."""
        return len(self._waiting) >= _MESSAGES or self._bytes + more > _BYTES

    def put(self, message: bytes) -> None:
        """Adds a message and schedules the processing."""
        self._waiting.append(message)
        self._bytes += len(message)
        if self.are_full():
            self._loop.call_soon(self._pass_by)
        elif self._timer is None:
            self._timer = self._loop.call_later(_WAITING_SECONDS, self._pass_by)

    async def work_off(self) -> None:
        """Processes all pending messages; raises the first error of `work` again."""
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
        """Discards the pending messages, and the error, whose traceback refers to this object."""
        self._stop_timer()
        self._waiting.clear()
        self.reading = self.error = None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
