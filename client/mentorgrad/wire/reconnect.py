"""Backoff between attempts, and patience for re-opening lost streams."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator

from mentorgrad.errors import DeadlineExceeded, MentorgradError

_SETTLED_SECONDS = 5.0
"""A stream that lived this long was connected, even if it received no events."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
"""Pauses between attempts to re-open a stream, seconds."""


def backoff(
    first: float, longest: float, draw: Callable[[float, float], float] = random.uniform
) -> Iterator[float]:
    """Pauses between attempts in seconds, without end: doubled from `first` up to `longest`.

    Each is multiplied by `draw(0.5, 1.0)`, so that callers that failed together do not retry
    together.
    """
    pause = first
    while True:
        yield pause * draw(0.5, 1.0)
        pause = min(2 * pause, longest)


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
        self._pauses = backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        self.is_reopening = False

    def opened(self) -> None:
        """Records that a stream is being opened."""
        self.is_reopening = True
        self._opened = self._clock()

    def recovered(self) -> None:
        """Records that the stream is connected; resets patience and backoff."""
        self._lost_since = None
        self._pauses = backoff(_FIRST_PAUSE, _LONGEST_PAUSE)

    def ended_well(self) -> float:
        """Records that the service ended the stream normally; resets patience, not backoff.

        Returns the pause before the next stream, seconds.
        """
        self._lost_since = self._opened = None
        return next(self._pauses)

    def failed(self, cause: MentorgradError) -> float | None:
        """Records a failed attempt; returns the pause before the next, seconds; None: give up."""
        now = self._clock()
        lived = 0.0 if self._opened is None else now - self._opened
        self._opened = None
        if lived >= min(_SETTLED_SECONDS, self._longest):
            self.recovered()
        pause = next(self._pauses)
        if isinstance(cause, DeadlineExceeded) and lived > 0.9 * self._longest:
            return pause  # its own deadline
        if self._lost_since is None:
            self._lost_since = now
        return pause if now + pause <= self._lost_since + self._patience else None
