"""The columns of the list of runs: the small line of a run's loss, and which ones are shown."""

from __future__ import annotations

import pytest

from run_store.temporary_store import TemporaryRunStore
from tests.support.event_maker import EventMaker
from tests.support.served_page import served_page
from tests.support.served_runs import Worker, queue_run, served
from tests.support.tabs import Tab

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package")]


async def test_a_list_shows_the_loss_as_a_line_and_the_columns_that_are_wanted(
    tab: Tab, store: TemporaryRunStore
) -> None:
    worker = Worker(store, queue_run(store))
    worker.segment(0, 1)
    worker.write(EventMaker.scored(0, 0.75))
    line = tab.page.locator(".spark")
    async with served(store) as (_, trainer), served_page(trainer) as page:
        await tab.load(page)
        await line.wait_for()
        assert await line.get_attribute("aria-label") == "best loss so far: 0.7500 at step 3"
        worker.segment(0, 4)
        worker.write(EventMaker.scored(0, 0.25))
        await tab.page.get_by_label("to 0.2500 at step 6, 2 points").wait_for()  # by itself
        await tab.page.get_by_text("Columns", exact=True).click()
        await tab.page.get_by_label("best so far").uncheck()
        await line.wait_for(state="detached")
        await tab.load()
        await tab.sees("summary", "Columns (1 hidden)")
        await tab.sees("tbody td", "0.2500")
        assert await line.count() == 0
