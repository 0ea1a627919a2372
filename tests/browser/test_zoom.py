"""Zooming into the loss of a run that was read thinned."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from mentorgrad.domain.event import Segment, StageStarted
from mentorgrad.domain.run import Snapshot
from run_store.temporary_store import TemporaryRunStore
from tests.support.served_page import served_page
from tests.support.served_runs import Worker, queue_run, served
from tests.support.tabs import Tab

if TYPE_CHECKING:
    from playwright.async_api import Request

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package")]

STEPS, BLOCK = 52_000, 4_000


async def test_the_steps_in_view_are_read_and_reset_shows_all(
    tab: Tab, store: TemporaryRunStore
) -> None:
    worker = Worker(store, queue_run(store))
    worker.write(StageStarted())
    for first in range(1, STEPS, BLOCK):
        steps = range(first, first + BLOCK)
        worker.write(Segment(0, steps[0], steps[-1], tuple(Snapshot(at, 1 / at) for at in steps)))
    asked: list[tuple[int, int]] = []

    def note(request: Request) -> None:
        query = parse_qs(urlsplit(request.url).query)
        if "first_step" in query:
            asked.append((int(query["first_step"][0]), int(query["last_step"][0])))

    tab.page.on("request", note)
    async with served(store) as (_, trainer), served_page(trainer) as page:
        await tab.load(f"{page}/runs/{worker.run_id}")
        await tab.sees(".chart-axis.below", "of 52,000 steps")
        chart = tab.page.locator(".chart-canvas").first
        box = await chart.bounding_box()
        assert box is not None
        assert asked == []

        # Half of the chart, by the mouse.
        middle = box["y"] + box["height"] / 2
        await tab.page.mouse.move(box["x"] + box["width"] * 0.5, middle)
        await tab.page.mouse.down()
        await tab.page.mouse.move(box["x"] + box["width"] * 0.95, middle, steps=3)
        await tab.page.mouse.up()
        await tab.sees(".chart-axis.below", "in view")
        ((first, last),) = asked
        assert STEPS / 4 < first < last <= STEPS

        # A part of it, by the keyboard: so few steps that all of them come.
        for _ in range(4):
            await chart.press("+")
        await tab.sees(".chart-axis.below", "every step in view")
        assert first <= asked[-1][0] < asked[-1][1] <= last
        await chart.press("Escape")
        await tab.sees(".chart-axis.below", "of 52,000 steps")
