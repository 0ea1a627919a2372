"""Admits what clients create: nothing while the service drains, and only a few checks at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from mentorgrad.errors import Unavailable
from trainer_service.control_plane.thread_calls import run_limited

T = TypeVar("T")


class Admission:
    """Checks new objects, unless the service drains.

    Args:
        of: What is admitted, in the plural, for error messages.
        at_once: Maximum number of concurrent checks; each may read files of some 100 MiB.
    """

    def __init__(self, of: str, at_once: int) -> None:
        self._of = of
        self._checking = asyncio.Semaphore(at_once)
        self._draining = False

    def drain(self) -> None:
        """Rejects everything new from now on."""
        self._draining = True

    async def check(self, work: Callable[[], T]) -> T:
        """Runs a check in a thread and returns its result.

        Raises:
            Unavailable: The service is about to stop (reason DRAINING).
        """
        if self._draining:
            raise Unavailable(
                f"this trainer is shutting down and accepts no new {self._of}; try again later",
                reason="DRAINING",
            )
        return await run_limited(work, self._checking)
