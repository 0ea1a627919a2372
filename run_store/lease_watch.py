"""Decides which leases have run out, though the clock that dates them may be set."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta

Token = tuple[int, int]
"""Attempt, and end of the lease in microseconds; a heartbeat changes it."""


class LeaseWatch:
    """Watches the leases of running runs.

    What is left of a lease is read from the clock once, when the lease is first seen, and then
    counted by the monotonic clock. So a clock that is set forwards ends no lease early, and one
    that is set back prolongs none.

    Args:
        clock: Monotonic clock, seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: dict[tuple[str, Token], float] = {}
        self._lock = threading.Lock()

    def run_out(
        self, leases: Mapping[str, Token], now: int, longest: timedelta | None = None
    ) -> frozenset[str]:
        """The runs whose leases have run out.

        Args:
            leases: The current leases of all running runs, by run id.
            now: Time of the clock that dates the leases, microseconds.
            longest: Duration of a lease: one that would last longer was dated by a clock that was
                ahead. None: unknown.
        """
        at = self._clock()
        with self._lock:
            ends = {
                (run_id, token): self._ends.get(
                    (run_id, token), at + _rest(token[1] - now, longest)
                )
                for run_id, token in leases.items()
            }
            self._ends = ends
        return frozenset(run_id for (run_id, _), end in ends.items() if at >= end)


def _rest(micros: int, longest: timedelta | None) -> float:
    seconds = micros / 1e6
    return seconds if longest is None else min(seconds, longest.total_seconds())
