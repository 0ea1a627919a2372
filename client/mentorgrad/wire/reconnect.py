"""Backoff and patience for re-opening lost streams."""

from __future__ import annotations

import asyncio

from mentorgrad.errors import DeadlineExceeded, MentorgradError

_SETTLED_SECONDS = 5.0
"""A stream that lived this long was connected, even if it received no events."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
"""Pauses between attempts, seconds: doubled from the first up to the longest."""


class ReconnectTimer:
    """Decides when a watch re-opens its stream, and when it gives up.

    Time counts from the loss of a stream, not from the last event.

    Args:
        patience: Time from a loss to giving up, seconds.
        longest: Deadline of a stream, seconds.
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
        """Records that a stream is being opened."""
        self.is_reopening = True
        self._opened = self._clock()

    def recovered(self) -> None:
        """Records that the stream is connected; resets patience and backoff."""
        self._lost_since, self._pause = None, _FIRST_PAUSE

    def ended_well(self) -> None:
        """Records that the service ended the stream normally; resets patience, not backoff."""
        self._lost_since = self._opened = None

    def may_retry(self, cause: MentorgradError) -> bool:
        """After a failed attempt: whether to try again."""
        now = self._clock()
        lived = 0.0 if self._opened is None else now - self._opened
        self._opened = None
        if lived >= min(_SETTLED_SECONDS, self._longest):
            self.recovered()
        if isinstance(cause, DeadlineExceeded) and lived > 0.9 * self._longest:
            return True  # its own deadline
        if self._lost_since is None:
            self._lost_since = now
        return now + self._pause <= self._lost_since + self._patience

    def pause(self) -> float:
        """Returns the pause before the next attempt, seconds; doubles it."""
        pause = self._pause
        self._pause = min(2 * pause, _LONGEST_PAUSE)
        return pause
