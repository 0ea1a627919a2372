"""Very many events, candidates and tabs; too dear for every run of the suite."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry

from mentorgrad.domain.event import CandidatesScored, CheckpointSaved, Segment, StageStarted
from mentorgrad.domain.run import Candidate, Score, Snapshot
from run_store.temporary_store import TemporaryRunStore
from tests.support.served_page import served_page
from tests.support.served_runs import Worker, queue_run, served
from tests.support.tabs import Tab, tab_of

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.timeout(1200),
    pytest.mark.asyncio(loop_scope="package"),
]

BATCH = 1_000

COUNTS = (26, 4, 4, 4, 4, 4, 4)
"""Tabs of each browser; the first has connections for six of its tabs."""


def long_run(store: TemporaryRunStore, segments: int, steps: int = 1, saved: int = 100) -> Worker:
    """A run of segments of a few steps, with a checkpoint after every `saved` of them."""
    worker = Worker(store, queue_run(store))
    worker.write(StageStarted(stage=0))
    waiting: list[Any] = []
    for segment in range(1, segments + 1):
        last = segment * steps
        numbers = range(last - steps + 1, last + 1)
        shown = tuple(Snapshot(step, 1 / step, text="a few words") for step in numbers)
        waiting.append(Segment(0, numbers[0], last, shown))
        if segment % saved == 0:
            waiting.append(CheckpointSaved(step=last))
        if len(waiting) >= BATCH or segment == segments:
            worker.write(*waiting)
            waiting.clear()
    return worker


async def test_a_log_of_100_000_events_opens_without_its_steps_and_goes_on(
    tab: Tab, store: TemporaryRunStore
) -> None:
    worker = long_run(store, 100_000)
    async with served(store) as (_, trainer), served_page(trainer) as page:
        await tab.load(f"{page}/runs/{worker.run_id}")
        await tab.sees(".live", "live")
        await tab.sees(".chart-axis.below", "of 100,000 steps")
        assert len(tab.read) == worker.last - 100_000
        worker.segment(0, 100_001)
        await tab.sees(".tile-note", "step 100003")
        assert [frame["event"] for frame in tab.streamed if frame["event"] == "run"] == ["run"]
        await tab.page.click(".tabs a:has-text('Log')")
        await tab.page.get_by_label("Steps and checkpoints, too").check()
        await tab.sees("[aria-label=Events] td", "steps 100,001 to 100,003")
        await tab.page.click("button:has-text('Show older ones')")
        await tab.page.locator("[aria-label=Events] tbody tr").nth(1_000).wait_for()


async def test_10_000_candidates_are_shown_and_sorted(tab: Tab, store: TemporaryRunStore) -> None:
    worker = Worker(store, queue_run(store))
    worker.write(StageStarted(stage=0))
    for stage in range(100):
        worker.write(
            CandidatesScored(
                stage,
                tuple(
                    Candidate(
                        f"s{stage}/{n}",
                        stage=stage,
                        step=stage,
                        text=f"words {n}",
                        score=Score(1 + ((stage * 100 + n) * 7919 % 10_000) / 1e4, 0.5, 10),
                    )
                    for n in range(100)
                ),
            )
        )
    async with served(store) as (_, trainer), served_page(trainer) as page:
        await tab.load(f"{page}/runs/{worker.run_id}?tab=candidates")
        await tab.sees(".filter", "10,000 candidates")
        await tab.page.get_by_label("Order").select_option("best")
        first = tab.page.locator("[aria-label^=Candidates] td[data-name=loss]").first
        await tab.sees("[aria-label^=Candidates] td[data-name=loss]", "1.0000")
        assert await first.inner_text() == "1.0000"
        await tab.page.click("button:has-text('Show more of 10,000')")
        await tab.page.locator("[aria-label^=Candidates] tbody tr").nth(1_000).wait_for()
        await tab.page.click(".tabs a:has-text('Course')")
        await tab.sees(".chart-axis", "best selection 1.0000")


async def test_50_tabs_in_seven_browsers_get_every_event_by_one_watch(
    browser: Browser, store: TemporaryRunStore
) -> None:
    worker = Worker(store, queue_run(store))
    worker.write(StageStarted(stage=0))
    registry = CollectorRegistry()
    async with AsyncExitStack() as stack:
        _, trainer = await stack.enter_async_context(served(store))
        page = await stack.enter_async_context(served_page(trainer, registry=registry))
        tabs = []
        for count in COUNTS:
            context = await browser.new_context()
            stack.push_async_callback(context.close)
            for _ in range(count):
                tabs.append(await stack.enter_async_context(tab_of(context)))
                await tabs[-1].load(f"{page}/runs/{worker.run_id}")
                await tabs[-1].sees(".live", "live")
        worker.segment(0, 1)
        for one in tabs:
            await one.has(worker.last)
        streams = registry.get_sample_value("mentorgrad_ui_streams")
        assert streams == sum(min(4, count) for count in COUNTS)
        assert registry.get_sample_value("mentorgrad_ui_followed_runs") == 1
        for first in range(4, 100, 3):
            worker.segment(0, first)
        worker.finish()
        for one in tabs:
            await one.has(worker.last)
            await one.sees("h1 + .state-succeeded")
            assert one.seqs() == list(range(1, worker.last + 1))
