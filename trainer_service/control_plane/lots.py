"""Working through a stream, some messages in a row."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

_MESSAGES = 16
"""Most messages that are worked on in a row: nothing else is answered meanwhile."""

_BYTES = 1024 * 1024
"""Most bytes of them, but for a single message."""

_SECONDS = 0.02
"""Longest time for which a message waits for others."""

Work = Callable[[bytes], None]


async def in_lots(source: AsyncIterator[bytes], admit: Work, work: Work) -> None:
    """Works on each message of a stream, some in a row, while the next one is on its way.

    A message is asked for only when the one before it is taken, so whoever works first lets the
    transport, which has threads of its own, stand idle meanwhile; and whoever works after every
    single one finds the processor's caches full of what those threads did.

    Args:
        source: The stream.
        admit: Told of each message when it comes; may refuse it.
        work: Done in order, at the latest soon after no more messages come.

    Raises:
        Exception: What the first message to be wrong brought about, or what the source raises.
    """
    lots = _Lots(work)

    async def read() -> None:
        try:
            async for message in source:
                admit(message)
                lots.put(message)
        except Exception:
            lots.work_off()  # something before that may have been wrong
            raise
        lots.work_off()

    lots.reading = asyncio.ensure_future(read())
    try:
        await lots.reading
    except asyncio.CancelledError:
        if lots.error is not None:
            raise lots.error from None
        raise
    finally:
        lots.close()


class _Lots:
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

    def put(self, message: bytes) -> None:
        """One more."""
        if self._is_lot(len(message)):  # the loop has not come to it, or it would be too much
            self.work_off()
        self._waiting.append(message)
        self._bytes += len(message)
        if self._is_lot():
            self._loop.call_soon(self._pass_by)
        elif self._timer is None:
            self._timer = self._loop.call_later(_SECONDS, self._pass_by)

    def _is_lot(self, more: int = 0) -> bool:
        return len(self._waiting) >= _MESSAGES or self._bytes + more > _BYTES

    def work_off(self) -> None:
        """Works on all that wait; after an error raises that again."""
        self._stop_timer()
        self._bytes = 0
        if self.error is not None:
            raise self.error
        try:
            while self._waiting:
                self._work(self._waiting.popleft())
        except Exception as error:
            self.error = error
            raise

    def _pass_by(self) -> None:
        try:
            self.work_off()
        except Exception:
            if self.reading is not None:
                self.reading.cancel()

    def close(self) -> None:
        """Works on nothing any more, and forgets the error, whose frames hold all this."""
        self._stop_timer()
        self._waiting.clear()
        self.reading = self.error = None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
