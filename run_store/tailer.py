"""Follows live runs: one poller per watched run, for any number of watchers.

A tailer keeps the newest events in a bounded ring buffer. A watcher reads the events that it has
not seen from the ring. A watcher that is too slow for this, or needs what the ring does not hold
(raw tensors, effective events only), reads from the store. So a slow watcher takes no memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import replace

import structlog

from mentorgrad.domain.query import EventQuery, View
from mentorgrad.errors import InternalError, MentorgradError
from run_store import paging
from run_store.protocols import RunStore
from run_store.stored_events import StoredEvent

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.1
"""Poll interval of a watched run, seconds."""

RING_EVENTS = 256
"""Size of a watched run's ring buffer, events."""

_PAGES = {View.SUMMARY: 64, View.FULL: 4}
"""Maximum events read from the store at once for one watcher."""


class Draining(Exception):
    """The service is about to stop, so the stream that follows a run ends early."""

    def __init__(self, after_seq: int) -> None:
        super().__init__(after_seq)
        self.after_seq = after_seq
        """Seq of the last event that was handled (returned or filtered out)."""


class Tailer:
    """Polls one run for all its watchers. Bound to one event loop."""

    def __init__(self, store: RunStore, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._ring: deque[StoredEvent] = deque(maxlen=RING_EVENTS)
        self._news = asyncio.Event()
        self._error: MentorgradError | None = None
        self._task: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._started = False
        self.watchers = 0
        self.last_seq = 0
        self.is_over = False
        self.is_draining = False

    async def start(self) -> None:
        """Polls for the first time and starts polling; concurrent callers wait for this.

        Raises:
            NotFound: No such run.
        """
        async with self._starting:
            if self._started:
                return
            self.last_seq, state = await asyncio.to_thread(self._store.progress, self._run_id)
            self.is_over = state.is_final
            if not self.is_over:
                self._task = asyncio.create_task(self._poll())
            self._started = True

    async def stop(self) -> None:
        """Stops polling."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

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

    async def _poll(self) -> None:
        try:
            while not self.is_over:
                await asyncio.sleep(POLL_SECONDS)
                await self._look()
        except MentorgradError as error:
            self._error = error
        except Exception as error:
            # A bug must also wake the watchers, or they would wait forever.
            log.exception("tailer_failed", run_id=self._run_id)
            self._error = InternalError(f"watching run {self._run_id} failed")
            self._error.__cause__ = error
        self._wake()

    async def _look(self) -> None:
        last_seq, state = await asyncio.to_thread(self._store.progress, self._run_id)
        if last_seq > self.last_seq:
            # Of more new events than the ring can hold, read only the newest.
            after = max(self.last_seq, last_seq - RING_EVENTS)
            new = await asyncio.to_thread(self._read, after)
            if after > self.last_seq:
                self._ring.clear()
            self._ring.extend(new)
            last_seq = max(last_seq, new[-1].seq if new else 0)
        elif not state.is_final:
            return
        self.last_seq, self.is_over = last_seq, state.is_final
        self._wake()

    def _read(self, after: int) -> list[StoredEvent]:
        newer = self._store.stored_events(self._run_id, EventQuery(after_seq=after))
        return list(itertools.islice(newer, RING_EVENTS))

    def _wake(self) -> None:
        """Wakes the current waiters; later waiters wait for the next change."""
        self._news.set()
        self._news = asyncio.Event()


class Tailers:
    """The tailers of all runs being watched. Bound to one event loop."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._watched: dict[str, Tailer] = {}
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
            tailer = self._watched[run_id] = Tailer(self._store, run_id)
        tailer.watchers += 1  # before the first await: others may come and go meanwhile
        try:
            await tailer.start()
            yield tailer
        finally:
            tailer.watchers -= 1
            if not tailer.watchers:
                if self._watched.get(run_id) is tailer:
                    del self._watched[run_id]
                await tailer.stop()

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


async def read_pages(
    store: RunStore, run_id: str, query: EventQuery
) -> AsyncGenerator[list[StoredEvent], None]:
    """Yields the events recorded so far in non-empty batches, read in a thread."""
    count = _PAGES[query.view]
    source = iter(await asyncio.to_thread(store.stored_events, run_id, query))
    while batch := await asyncio.to_thread(_take, source, count):
        yield batch


def _take(source: Iterator[StoredEvent], count: int) -> list[StoredEvent]:
    found: list[StoredEvent] = []
    size = 0
    while len(found) < count and size < paging.EVENTS_BYTES:
        event = next(source, None)
        if event is None:
            break
        found.append(event)
        size += event.size
    return found
