"""The feeds of the runs that tabs show at present."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ui_service.recorded_events import RecordedEvents
from ui_service.run_feed import RunFeed
from ui_service.trainer import Trainer


@dataclass
class _Shared:
    """A feed, and for how many tabs."""

    feed: RunFeed
    following: asyncio.Task[None]
    tabs: int = 0


class RunFeeds:
    """Follows each run that a tab shows, once. For one event loop.

    Args:
        trainer: Where the runs are recorded.
        recorded: Reads their logs.
    """

    def __init__(self, trainer: Trainer, recorded: RecordedEvents) -> None:
        self._trainer, self._recorded = trainer, recorded
        self._shared: dict[str, _Shared] = {}

    def __len__(self) -> int:
        return len(self._shared)

    @contextlib.asynccontextmanager
    async def open(self, run_id: str) -> AsyncIterator[RunFeed]:
        """The feed of a run, while the block runs."""
        shared = self._shared.get(run_id)
        if shared is None or shared.feed.status.is_last:
            # One that has ended stays with its tabs; the run may have been imported again since.
            feed = RunFeed(run_id, self._trainer, self._recorded)
            shared = _Shared(feed, asyncio.create_task(feed.follow()))
            self._shared[run_id] = shared
        shared.tabs += 1
        try:
            yield shared.feed
        finally:
            shared.tabs -= 1
            if not shared.tabs:
                if self._shared.get(run_id) is shared:
                    del self._shared[run_id]
                shared.following.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await shared.following
