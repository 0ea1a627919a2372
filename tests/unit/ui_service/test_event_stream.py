"""Streams: what a tab gets, resumes with, and is told when something is gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import pytest

from mentorgrad.errors import NotFound, ResourceExhausted, Unauthenticated
from tests.support.event_maker import EventMaker
from tests.support.told_trainer import ToldTrainer
from ui_service import event_stream, recorded_events, run_feed
from ui_service.event_stream import EventStream, EventStreams
from ui_service.recorded_events import RecordedEvents
from ui_service.run_feeds import RunFeeds


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_feed, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(run_feed, "_LONGEST_PAUSE", 0.001)


@pytest.fixture
async def trainer() -> ToldTrainer:
    return ToldTrainer()


@pytest.fixture
def streams(trainer: ToldTrainer) -> EventStreams:
    return EventStreams(RunFeeds(trainer, RecordedEvents(trainer)), comment_seconds=60.0)


@dataclass
class Frame:
    """What a browser makes of one."""

    event: str
    last_id: str
    data: dict[str, Any]

    @property
    def seq(self) -> int:
        return int(self.data["event"]["seq"])


class Tab:
    """A browser's side of a stream."""

    def __init__(self, streams: EventStreams, check: Callable[[], None] = lambda: None, **at: int):
        self.status = 0
        self.headers: dict[str, str] = {}
        self._parts: asyncio.Queue[bytes] = asyncio.Queue()
        self._closed = asyncio.Event()
        self._reads = asyncio.Event()
        self._reads.set()
        stream = EventStream(streams, at, check)
        self.serving = asyncio.create_task(stream({"type": "http"}, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        await self._closed.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        await self._reads.wait()
        self._parts.put_nowait(message["body"])

    async def part(self) -> bytes:
        async with asyncio.timeout(60):
            return await self._parts.get()

    async def take(self, count: int) -> list[Frame]:
        """The next frames; comments and the pause for reconnecting are skipped."""
        found: list[Frame] = []
        while len(found) < count:
            part = (await self.part()).decode()
            fields = dict(line.split(": ", 1) for line in part.splitlines() if ": " in line)
            if "event" in fields:
                found.append(Frame(fields["event"], fields["id"], json.loads(fields["data"])))
        return found

    async def end(self) -> None:
        async with asyncio.timeout(60):
            await self.serving

    def sleep(self) -> None:
        self._reads.clear()

    def wake(self) -> None:
        self._reads.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closed.set()
        self.wake()
        await self.end()


async def test_a_stream_says_how_it_is_to_be_treated(
    streams: EventStreams, trainer: ToldTrainer
) -> None:
    trainer.add("a", 1)
    async with Tab(streams, a=0) as tab:
        assert await tab.part() == b"retry: 2000\n\n"
        assert tab.status == 200
        assert tab.headers == {
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-store, no-transform",
            "x-accel-buffering": "no",
        }


async def test_recorded_events_are_followed_by_live_ones_and_the_end(
    streams: EventStreams, trainer: ToldTrainer
) -> None:
    trainer.add("a", 3)
    tab = Tab(streams, a=1)
    assert [frame.seq for frame in await tab.take(2)] == [2, 3]
    trainer.tell("a")
    trainer.finish("a")
    live, finished, end = await tab.take(3)
    assert (live.event, live.seq, live.last_id) == ("run", 4, "a:4")
    assert live.data["runId"] == "a"
    assert "finished" in finished.data["event"]
    assert (end.event, end.last_id, end.data["runId"]) == ("end", "a:5", "a")
    await tab.end()
    assert len(streams) == len(streams.feeds) == 0


async def test_a_tab_that_comes_back_after_the_end_is_told_not_to(
    streams: EventStreams, trainer: ToldTrainer
) -> None:
    trainer.add("a", 1)
    trainer.finish("a")
    done = Tab(streams, a=2)
    await done.end()
    assert done.status == 204
    behind = Tab(streams, a=1)
    assert [frame.event for frame in await behind.take(2)] == ["run", "end"]
    await behind.end()


async def test_large_events_come_in_order_too(
    streams: EventStreams, trainer: ToldTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded_events, "_LARGE_SNAPSHOTS", 1)
    trainer.add("a")
    async with Tab(streams, a=0) as tab:
        await tab.part()
        trainer.tell("a", EventMaker.segment(1, 50, shape=None))
        trainer.tell("a", EventMaker.segment(51, 51, shape=None))
        large, small = await tab.take(2)
        assert [large.seq, small.seq] == [1, 2]
        assert len(large.data["event"]["segment"]["snapshots"]) == 50


async def test_one_stream_has_several_runs_and_ends_with_the_last(
    streams: EventStreams, trainer: ToldTrainer
) -> None:
    trainer.add("a", 1)
    trainer.add("b", 1)
    tab = Tab(streams, a=1, b=1)
    await tab.part()
    trainer.finish("b")
    run, end = await tab.take(2)
    assert (run.last_id, end.last_id) == ("a:1,b:2", "a:1,b:2")
    assert end.data["runId"] == "b"
    trainer.finish("a")
    assert [frame.data["runId"] for frame in await tab.take(2)] == ["a", "a"]
    await tab.end()


async def test_all_tabs_of_a_run_share_one_watch(
    streams: EventStreams, trainer: ToldTrainer
) -> None:
    trainer.add("a", 5)
    async with Tab(streams, a=0) as first, Tab(streams, a=3) as second:
        assert len(await first.take(5)) == 5
        assert len(await second.take(2)) == 2
        trainer.tell("a")
        assert [(await tab.take(1))[0].seq for tab in (first, second)] == [6, 6]
        assert trainer.watches == trainer.calls["watch"] == 1
        async with Tab(streams, a=5) as third:
            assert (await third.take(1))[0].seq == 6
        assert trainer.watches == 1
    assert trainer.watches == 0


async def test_a_slow_tab_reads_from_the_log_what_is_not_kept(
    streams: EventStreams, trainer: ToldTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_feed, "_KEPT_EVENTS", 2)
    monkeypatch.setattr(recorded_events, "PORTION_BYTES", 500)
    trainer.add("a")
    async with Tab(streams, a=0) as slow, Tab(streams, a=0) as quick:
        await slow.part()
        slow.sleep()
        for _ in range(60):
            trainer.tell("a")
        assert [frame.seq for frame in await quick.take(60)] == list(range(1, 61))
        slow.wake()
        trainer.finish("a")
        frames = await slow.take(62)
        assert [frame.seq for frame in frames[:-1]] == list(range(1, 62))
        assert frames[-1].event == "end"
        assert trainer.watches == 0


async def test_an_absent_trainer_is_told_and_tried_again(
    streams: EventStreams, trainer: ToldTrainer
) -> None:
    trainer.add("a", 1)
    trainer.go(away=True)
    async with Tab(streams, a=0) as tab:
        away = (await tab.take(1))[0]
        assert (away.event, away.last_id) == ("away", "a:0")
        assert away.data == {"runId": "a", "reason": "no answer from 127.0.0.1:1"}
        trainer.go(away=False)
        back, run = await tab.take(2)
        assert {back.event, run.event} == {"back", "run"}
        trainer.go(away=True)
        assert (await tab.take(1))[0].event == "away"
        trainer.tell("a")
        trainer.go(away=False)
        assert {frame.event for frame in await tab.take(2)} == {"back", "run"}


async def test_a_run_that_is_gone_is_told(streams: EventStreams, trainer: ToldTrainer) -> None:
    trainer.add("a", 1)
    tab = Tab(streams, a=0, b=0)
    frames = await tab.take(2)
    assert {frame.event: frame.data["runId"] for frame in frames} == {"gone": "b", "run": "a"}
    trainer.delete("a")
    assert (await tab.take(1))[0].event == "gone"
    await tab.end()
    with pytest.raises(NotFound):
        await Tab(streams, a=0, b=0).end()


async def test_an_idle_stream_has_comments(trainer: ToldTrainer) -> None:
    trainer.add("a")
    streams = EventStreams(RunFeeds(trainer, RecordedEvents(trainer)), comment_seconds=0.001)
    async with Tab(streams, a=0) as tab:
        await tab.part()
        assert await tab.part() == b":\n\n"
        assert await tab.part() == b":\n\n"


async def test_streams_end_when_the_page_stops(streams: EventStreams, trainer: ToldTrainer) -> None:
    trainer.add("a")
    tabs = [Tab(streams, a=0) for _ in range(3)]
    for tab in tabs:
        await tab.part()
    streams.ended.set()
    for tab in tabs:
        await tab.end()
    assert trainer.watches == 0


async def test_a_stream_ends_with_its_login(streams: EventStreams, trainer: ToldTrainer) -> None:
    trainer.add("a")
    is_valid = True

    def check() -> None:
        if not is_valid:
            raise Unauthenticated("log in first")

    tab = Tab(streams, check, a=0)
    await tab.part()
    is_valid = False
    trainer.tell("a")
    await tab.end()
    assert await tab.part() == b""


async def test_there_are_only_so_many_streams(
    streams: EventStreams, trainer: ToldTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "MAX_STREAMS", 1)
    trainer.add("a")
    async with Tab(streams, a=0) as tab:
        await tab.part()
        with pytest.raises(ResourceExhausted):
            await Tab(streams, a=0).end()


async def test_a_bug_in_a_feed_is_logged_and_ends_no_page(
    streams: EventStreams, trainer: ToldTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer.add("a", 1)
    is_broken = True
    get_run = trainer.get_run

    async def failing(run_id: str) -> Any:
        if is_broken:
            raise KeyError("a bug")
        return await get_run(run_id)

    monkeypatch.setattr(trainer, "get_run", failing)
    async with Tab(streams, a=0) as tab:
        (away,) = await tab.take(1)
        assert "internal error" in away.data["reason"]
        is_broken = False
        assert {frame.event for frame in await tab.take(2)} == {"back", "run"}
