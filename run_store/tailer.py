"""Follows live runs: one poll for all watched runs, for any number of watchers.

The tailer of a run keeps its newest events in a bounded ring buffer. A watcher reads the events
that it has not seen from the ring. A watcher that is too slow for this, or needs what the ring does
not hold (raw tensors, effective events only), reads from the store. So a slow watcher takes no
memory.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace

import structlog

from mentorgrad.domain.query import EventQuery, View
from mentorgrad.errors import InternalError, MentorgradError
from run_store import invariants
from run_store.event_pages import read_pages
from run_store.protocols import RunStore
from run_store.run_news import RunNews
from run_store.stored_events import StoredEvent

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.1
"""Poll interval, seconds."""

RING_EVENTS = 256
"""Size of a watched run's ring buffer, events."""


class Draining(Exception):
    """The service is about to stop, so the stream that follows a run ends early."""

    def __init__(self, after_seq: int) -> None:
        super().__init__(after_seq)
        self.after_seq = after_seq
        """Seq of the last event that was handled (returned or filtered out)."""


class Tailer:
    """What is known of one watched run, for all its watchers. Bound to one event loop."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self._ring: deque[StoredEvent] = deque(maxlen=RING_EVENTS)
        self._news = asyncio.Event()
        self._error: MentorgradError | None = None
        self._starting = asyncio.Lock()
        self._started = False
        self.watchers = 0
        self.last_seq = 0
        self.is_over = False
        self.is_draining = False

    async def start(self, store: RunStore) -> None:
        """Looks at the run for the first time; concurrent callers wait for this.

        Raises:
            NotFound: No such run.
        """
        async with self._starting:
            if not self._started:
                self.last_seq, state = await asyncio.to_thread(store.progress, self.run_id)
                self.is_over = state.is_final
                self._started = True

    @property
    def is_live(self) -> bool:
        """Whether there may be news of the run that its watchers wait for."""
        return self._started and not (self.is_over or self.has_failed)

    @property
    def has_failed(self) -> bool:
        """Whether polling failed; new watchers then need a new tailer."""
        return self._error is not None

    def recent(self, after_seq: int) -> list[StoredEvent] | None:
        """The events after this seq, without raw tensors; None if the ring begins later."""
        if not self._ring or self._ring[0].seq > after_seq + 1:
            return None
        return [event for event in self._ring if event.seq > after_seq]

    async def changed(self, seen: int) -> None:
        """Waits until there are events after `seen`, the run has ended, or the service drains.

        Raises:
            NotFound: The run was deleted.
            Unavailable: The store is not available; the caller may retry later.
            InternalError: Polling failed because of a bug.
        """
        while self.last_seq <= seen and not (self.is_over or self.is_draining):
            if self._error is not None:
                raise self._error
            await self._news.wait()

    def drain(self) -> None:
        """Ends the wait of all watchers."""
        self.is_draining = True
        self._wake()

    def fail(self, error: MentorgradError) -> None:
        """Ends the wait of all watchers with an error."""
        self._error = error
        self._wake()

    def take(self, news: RunNews) -> None:
        """Takes the news of the run, and wakes the watchers if there are any."""
        if news.last_seq > self.last_seq:
            if news.events and news.events[0].seq > self.last_seq + 1:
                self._ring.clear()
            self._ring.extend(news.events)
        elif not news.state.is_final:
            return
        self.last_seq, self.is_over = news.last_seq, news.state.is_final
        self._wake()

    def _wake(self) -> None:
        """Wakes the current waiters; later waiters wait for the next change."""
        self._news.set()
        self._news = asyncio.Event()


class Tailers:
    """The tailers of all runs being watched, and the task that polls for them. Bound to one event
    loop."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._watched: dict[str, Tailer] = {}
        self._polling: asyncio.Task[None] | None = None
        self._draining = False

    def drain(self) -> None:
        """Ends all current and future calls of `follow` with `Draining`."""
        self._draining = True
        for tailer in self._watched.values():
            tailer.drain()

    @contextlib.asynccontextmanager
    async def _hold(self, run_id: str) -> AsyncIterator[Tailer]:
        tailer = self._watched.get(run_id)
        if tailer is None or tailer.has_failed:
            tailer = self._watched[run_id] = Tailer(run_id)
        tailer.watchers += 1  # before the first await: others may come and go meanwhile
        try:
            await tailer.start(self._store)
            if self._polling is None:
                self._polling = asyncio.create_task(self._poll())
            yield tailer
        finally:
            tailer.watchers -= 1
            if not tailer.watchers and self._watched.get(run_id) is tailer:
                del self._watched[run_id]
            if not self._watched and self._polling is not None:
                self._polling.cancel()
                self._polling = None

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            live = [tailer for tailer in self._watched.values() if tailer.is_live]
            if live:
                await self._look(live)

    async def _look(self, live: Sequence[Tailer]) -> None:
        seen = {tailer.run_id: tailer.last_seq for tailer in live}
        try:
            found = await asyncio.to_thread(self._store.news, seen, RING_EVENTS)
            for tailer in live:
                news = found.get(tailer.run_id)
                if news is None:
                    tailer.fail(invariants.not_found("run", tailer.run_id))
                else:
                    tailer.take(news)
        except MentorgradError as error:
            for tailer in live:
                tailer.fail(error)
        except Exception as error:
            # A bug must also wake the watchers, or they would wait forever; those of the run alone
            # in which it shows.
            if len(live) > 1:
                for tailer in live:
                    await self._look([tailer])
                return
            log.exception("tailer_failed", run_id=live[0].run_id)
            failed = InternalError(f"watching run {live[0].run_id} failed")
            failed.__cause__ = error
            live[0].fail(failed)

    async def follow(
        self, run_id: str, query: EventQuery
    ) -> AsyncGenerator[list[StoredEvent], None]:
        """Yields batches of events, first the recorded and then the new ones, until the run ends.

        Raises:
            NotFound: No such run, or it was deleted meanwhile.
            Unavailable: The store is not available.
            Draining: The service is about to stop.
        """
        after = query.after_seq
        async with self._hold(run_id) as tailer:
            while True:
                known, was_over = tailer.last_seq, tailer.is_over
                if self._draining and not was_over:
                    raise Draining(after)
                if after < known:
                    async for batch, reached in self._catch_up(tailer, run_id, query, after):
                        after = reached
                        if batch:
                            yield batch
                        if self._draining:
                            raise Draining(after)
                    after = max(after, known)
                elif was_over:
                    return
                else:
                    await tailer.changed(after)

    async def _catch_up(
        self, tailer: Tailer, run_id: str, query: EventQuery, after: int
    ) -> AsyncIterator[tuple[list[StoredEvent], int]]:
        """Yields batches of the known events after a seq, each with the seq that it reaches."""
        plain = query.view is View.SUMMARY and not query.effective
        recent = tailer.recent(after) if plain else None
        if recent:
            kinds = query.kinds
            yield [event for event in recent if not kinds or event.kind in kinds], recent[-1].seq
            return
        async for batch in read_pages(self._store, run_id, replace(query, after_seq=after)):
            yield batch, batch[-1].seq
