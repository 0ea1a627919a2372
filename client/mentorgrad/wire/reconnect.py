"""Lost streams that are opened again: when, and for how long that is tried."""

from __future__ import annotations

import asyncio

from mentorgrad.errors import DeadlineExceeded, MentorgradError

_SETTLED_SECONDS = 5.0
"""A stream that lived for so long had a connection, events or not."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
"""Seconds between attempts to open it again: doubled from the first to the longest."""


class ReconnectTimer:
    """For how long a watch is without its service, and when that is too long.

    Counts from the loss of a stream: how long a run was silent before says nothing.

    Args:
        patience: Seconds from a loss to giving up.
        longest: Seconds after which a stream ends by its own deadline.
    """

    def __init__(self, patience: float, longest: float) -> None:
        self._clock = asyncio.get_running_loop().time
        self._patience = patience
        self._longest = longest
        self._lost_since: float | None = None
        self._opened: float | None = None
        self._pause = _FIRST_PAUSE
        self.is_reopening = False

    def opened(self) -> None:
        """A stream is opened."""
        self.is_reopening = True
        self._opened = self._clock()

    def is_over(self) -> None:
        """The service serves the stream."""
        self._lost_since, self._pause = None, _FIRST_PAUSE

    def ended_well(self) -> None:
        """The service ended the stream, and is there; the pauses go on growing."""
        self._lost_since = self._opened = None

    def may_go_on(self, cause: MentorgradError) -> bool:
        """After a failed attempt: whether there is patience for another."""
        now = self._clock()
        lived = 0.0 if self._opened is None else now - self._opened
        self._opened = None
        if lived >= min(_SETTLED_SECONDS, self._longest):
            self.is_over()
        if isinstance(cause, DeadlineExceeded) and lived > 0.9 * self._longest:
            return True  # its own deadline
        if self._lost_since is None:
            self._lost_since = now
        return now + self._pause <= self._lost_since + self._patience

    def pause(self) -> float:
        """Seconds until the next attempt, growing."""
        pause = self._pause
        self._pause = min(2 * pause, _LONGEST_PAUSE)
        return pause
