"""Server-sent events: one stream a tab, with the news of every run that the tab shows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

import structlog
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from mentorgrad.errors import MentorgradError, NotFound, ResourceExhausted
from ui_service import messages, positions
from ui_service.positions import Positions
from ui_service.recorded_events import WrittenEvent
from ui_service.run_feed import FeedState, FeedStatus, RunFeed
from ui_service.run_feeds import RunFeeds

log = structlog.get_logger(__name__)

COMMENT_SECONDS = 15.0
"""Interval of comments, which keep proxies from closing an idle connection."""

MAX_STREAMS = 256
"""Maximum number of open streams."""

_RETRY = b"retry: 2000\n\n"
_WAITING_ITEMS = 16
"""Items of all feeds together that wait for a slow tab."""

_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
)

News = tuple[str, WrittenEvent | FeedStatus | None]
"""A run, and an item of its feed; None: the feed has failed."""


class EventStreams:
    """All open streams. For one event loop.

    Args:
        feeds: Where the news come from.
        comment_seconds: Interval of comments.
    """

    def __init__(self, feeds: RunFeeds, comment_seconds: float = COMMENT_SECONDS) -> None:
        self.feeds = feeds
        self.comment_seconds = comment_seconds
        self.ended = asyncio.Event()
        """Set when the page stops: every stream ends, and its tab comes back elsewhere."""
        self._open = 0

    def __len__(self) -> int:
        return self._open

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Counts a stream while the block runs.

        Raises:
            ResourceExhausted: There are too many.
        """
        if self._open >= MAX_STREAMS:
            raise ResourceExhausted(
                f"too many open pages: {MAX_STREAMS}", reason="TOO_MANY_STREAMS"
            )
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


class EventStream:
    """The response to one request for a stream.

    Args:
        streams: All streams.
        stated: Where it begins.
        check: Raises `MentorgradError` when the tab may no longer read; called now and then.
    """

    def __init__(self, streams: EventStreams, stated: Positions, check: Callable[[], None]) -> None:
        self._streams, self._check = streams, check
        self._positions = dict(stated)
        self._news: asyncio.Queue[News] = asyncio.Queue(_WAITING_ITEMS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves the stream until the runs have ended, the tab has gone or the page stops.

        Raises:
            NotFound: There is none of the runs.
            ResourceExhausted: There are too many streams.
        """
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(self._streams.place())
            opened = [
                await stack.enter_async_context(self._streams.feeds.open(run_id))
                for run_id in self._positions
            ]
            first = await asyncio.gather(*(feed.looked() for feed in opened))
            if all(status.state is FeedState.GONE for status in first):
                raise NotFound(first[0].reason, reason="RUN_NOT_FOUND")
            if all(map(self._has_all, opened)):
                # The tab has reconnected after the end; this answer keeps it from doing so again.
                await Response(status_code=204)(scope, receive, send)
                return
            await self._serve(opened, receive, send)

    def _has_all(self, feed: RunFeed) -> bool:
        at_end = self._positions[feed.run_id] >= feed.position
        return feed.status.state is FeedState.ENDED and at_end

    async def _serve(self, opened: list[RunFeed], receive: Receive, send: Send) -> None:
        writing = asyncio.create_task(self._write(len(opened), send))
        ends = [
            asyncio.create_task(_disconnected(receive)),
            asyncio.create_task(_until(self._streams.ended)),
        ]
        collecting = [asyncio.create_task(self._collect(feed)) for feed in opened]
        try:
            await asyncio.wait((writing, *ends), return_when=asyncio.FIRST_COMPLETED)
        finally:
            tasks = (writing, *ends, *collecting)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(OSError):  # the tab has gone
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _collect(self, feed: RunFeed) -> None:
        try:
            async with contextlib.aclosing(feed.news(self._positions[feed.run_id])) as news:
                async for item in news:
                    await self._news.put((feed.run_id, item))
        except Exception:
            log.exception("stream_failed", run_id=feed.run_id)
            await self._news.put((feed.run_id, None))

    async def _write(self, open_runs: int, send: Send) -> None:
        """Sends the news until no run can have any more."""
        await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
        await send(_body(_RETRY))
        while open_runs:
            frame = b":\n\n"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._streams.comment_seconds):
                    run_id, item = await self._news.get()
                if item is None:
                    return  # the tab reconnects
                frame = self._frame(run_id, item)
                open_runs -= isinstance(item, FeedStatus) and item.is_last
            try:
                self._check()
            except MentorgradError:
                return  # the tab reconnects, and is told why it may not
            await send(_body(frame))

    def _frame(self, run_id: str, item: WrittenEvent | FeedStatus) -> bytes:
        name = messages.encoded(run_id)
        if isinstance(item, WrittenEvent):
            self._positions[run_id] = item.seq
            kind, data = "run", b'{"runId":%b,"event":%b}' % (name, item.json)
        else:
            kind = item.state.value
            data = messages.encoded({"runId": run_id, "reason": item.reason})
        head = f"event: {kind}\nid: {positions.joined(self._positions)}\ndata: "
        return b"%b%b\n\n" % (head.encode(), data)


def _body(data: bytes) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": True}


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _until(event: asyncio.Event) -> None:
    await event.wait()
