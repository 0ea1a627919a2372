"""The news of a run: followed once, however many tabs show the run."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum

import structlog

from mentorgrad.errors import MentorgradError, NotFound
from mentorgrad.wire.reconnect import backoff
from ui_service.recorded_events import RecordedEvents, WrittenEvent, write_aside
from ui_service.trainer import Trainer

log = structlog.get_logger(__name__)

_KEPT_EVENTS = 256
_KEPT_BYTES = 1 << 20
"""The last events are kept for tabs that are a little behind; others read the log."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 3.0
"""Pauses between attempts to reach the trainer again, seconds."""


class FeedState(StrEnum):
    """What a tab must know of a feed beside its events."""

    FOLLOWING = "back"
    """The trainer answers."""
    AWAY = "away"
    """The trainer does not answer; the feed goes on trying."""
    ENDED = "end"
    """The run's last event has come."""
    GONE = "gone"
    """There is no such run, or no longer."""


@dataclass(frozen=True)
class FeedStatus:
    """State of a feed."""

    state: FeedState = FeedState.FOLLOWING
    """The state."""
    reason: str = ""
    """Reason, in one line, if the trainer is away or the run is gone."""

    @property
    def is_last(self) -> bool:
        """Whether no further events can come."""
        return self.state in (FeedState.ENDED, FeedState.GONE)


class RunFeed:
    """Follows one run from its present end. For one event loop.

    Args:
        run_id: The run.
        trainer: Where it is recorded.
        recorded: Reads what a tab lacks that is not kept here any more.
    """

    def __init__(self, run_id: str, trainer: Trainer, recorded: RecordedEvents) -> None:
        self.run_id = run_id
        self.status = FeedStatus()
        self.position = 0
        """Sequence number of the last event that is known."""
        self._trainer, self._recorded = trainer, recorded
        self._is_known = False
        self._kept: deque[WrittenEvent] = deque()
        self._kept_bytes = 0
        self._floor = 0
        """Events after this one, up to `position`, are kept."""
        self._changed = asyncio.Event()

    async def follow(self) -> None:
        """Follows the run until it has ended or is gone."""
        pauses = backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while not self.status.is_last:
            try:
                await self._follow()
                return
            except NotFound as error:
                self._set(FeedStatus(FeedState.GONE, error.message))
                return
            except MentorgradError as error:
                reason = error.message
            except Exception:
                log.exception("feed_failed", run_id=self.run_id)
                reason = "internal error; see the log of the page"
            if self._is_known and self.status.state is FeedState.FOLLOWING:
                pauses = backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
            self._set(FeedStatus(FeedState.AWAY, reason))
            await asyncio.sleep(next(pauses))

    async def _follow(self) -> None:
        """Follows the run as long as the trainer can be reached, at most to its end."""
        run = await self._trainer.get_run(self.run_id)
        if not self._is_known:
            self._is_known = True
            self._floor = self.position = run.last_seq
        if not (run.state.is_final and self.position >= run.last_seq):
            self._set(FeedStatus())
            async with aclosing(self._trainer.watch(self.run_id, self.position)) as events:
                async for event in events:
                    self._keep(await write_aside(event))
        self._set(FeedStatus(FeedState.ENDED))

    async def looked(self) -> FeedStatus:
        """The status once the trainer has been asked for the run for the first time."""
        while not self._is_known and self.status == FeedStatus():
            await self._changed.wait()
        return self.status

    async def news(self, after: int) -> AsyncGenerator[WrittenEvent | FeedStatus]:
        """What a tab gets: each event after the one that it has, and every new status. The last
        item is a status that `is_last`.

        Args:
            after: Sequence number of the last event that the tab has.
        """
        await self.looked()
        told = FeedStatus()
        while not told.is_last:
            changed = self._changed  # before anything is looked at, so that no news are missed
            is_behind = self._is_known and after < self._floor
            portion = await self._portion(after) if is_behind else self._after(after)
            for event in portion:
                yield event
                after = event.seq
            if portion:
                continue
            if self.status != told and not (is_behind and self.status.state is FeedState.ENDED):
                told = self.status
                yield told
            elif not is_behind:
                await changed.wait()

    async def _portion(self, after: int) -> list[WrittenEvent]:
        """Events from the log; empty, after a while, if it cannot be read."""
        try:
            found, _ = await self._recorded.read(self.run_id, after)
            if found:
                return found
        except NotFound as error:
            self._set(FeedStatus(FeedState.GONE, error.message))
            return []
        except MentorgradError as error:  # that the trainer is away is for `follow` to find out
            log.debug("log_unread", run_id=self.run_id, reason=error.message)
        await asyncio.sleep(_LONGEST_PAUSE)
        return []

    def _after(self, after: int) -> list[WrittenEvent]:
        """The kept events after one of them."""
        found = []
        for event in reversed(self._kept):
            if event.seq <= after:
                break
            found.append(event)
        return found[::-1]

    def _keep(self, event: WrittenEvent) -> None:
        self._kept.append(event)
        self._kept_bytes += len(event.json)
        self.position = event.seq
        while len(self._kept) > _KEPT_EVENTS or self._kept_bytes > _KEPT_BYTES:
            dropped = self._kept.popleft()
            self._kept_bytes -= len(dropped.json)
            self._floor = dropped.seq
        self._tell()

    def _set(self, status: FeedStatus) -> None:
        self.status = status
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
