"""A list of runs that is too long to be drawn at once."""

from __future__ import annotations

import pytest

from mentorgrad.domain.spec import RunSpec
from run_store.temporary_store import TemporaryRunStore
from tests.support.served_page import served_page
from tests.support.served_runs import queue_run, served
from tests.support.tabs import Tab

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package")]

RUNS = 230
PAGE = 50
"""Runs of a page, of which the first is drawn and polled."""


async def test_a_long_list_is_drawn_where_it_is_read_and_keeps_the_focus(
    tab: Tab, store: TemporaryRunStore
) -> None:
    for number in range(RUNS):
        queue_run(store, RunSpec(name=f"run {number}"))
    page = tab.page
    async with served(store) as (_, trainer), served_page(trainer) as address:
        await tab.load(address)
        newest = page.get_by_role("link", name=f"run {RUNS - 1}", exact=True)
        await newest.focus()
        assert await page.locator("table").get_attribute("aria-rowcount") == "-1"
        while not await page.get_by_text(f"{RUNS} runs", exact=True).count():
            await page.mouse.wheel(0, 2_000)
            await page.evaluate("new Promise(requestAnimationFrame)")
        await tab.sees("tbody a", "run 0")
        assert await page.locator("table").get_attribute("aria-rowcount") == str(RUNS + 1)
        last = page.locator("tr", has=page.get_by_role("link", name="run 0", exact=True))
        assert await last.get_attribute("aria-rowindex") == str(RUNS + 1)
        rows = await page.locator("tbody tr[aria-rowindex]").count()
        assert rows < RUNS  # those in between are not drawn
        assert await newest.evaluate("it => it === document.activeElement")
        queue_run(store, RunSpec(name="one more"))
        await page.evaluate("scrollTo(0, 0)")
        await tab.sees("tbody tr:first-child a", "one more")
        assert await newest.evaluate("it => it === document.activeElement")
        await page.get_by_text("runs so far").wait_for()


async def test_a_row_keeps_the_focus_when_it_moves_to_the_next_page_of_the_list(
    tab: Tab, store: TemporaryRunStore
) -> None:
    for number in range(PAGE + 1):
        queue_run(store, RunSpec(name=f"run {number}"))
    page = tab.page
    async with served(store) as (_, trainer), served_page(trainer) as address:
        await tab.load(address)
        last = page.get_by_role("link", name="run 1", exact=True)
        row = page.locator("tr", has=last)
        await last.focus()
        await page.get_by_text(f"{PAGE + 1} runs", exact=True).wait_for()
        assert await row.get_attribute("aria-rowindex") == str(PAGE + 1)
        queue_run(store, RunSpec(name="one more"))
        await page.get_by_text(f"{PAGE + 2} runs", exact=True).wait_for()
        assert await row.get_attribute("aria-rowindex") == str(PAGE + 2)
        assert await last.evaluate("it => it === document.activeElement")
        await page.keyboard.press("Tab")
        await tab.sees("tr:focus-within", "run 0")
        assert await last.count() == 1
