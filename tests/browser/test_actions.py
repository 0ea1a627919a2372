"""Runs are changed from the page, and created again by what it says."""

from __future__ import annotations

import asyncio

import pytest

from mentorgrad.domain.query import RunFilter
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import MentorChoice, RunSpec
from run_store.temporary_store import TemporaryRunStore
from tests.support.served_page import served_page
from tests.support.served_runs import queue_run, served
from tests.support.tabs import Tab

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package")]


async def test_runs_are_edited_paused_and_cancelled_and_created_again(
    tab: Tab, store: TemporaryRunStore
) -> None:
    spec = RunSpec(name="some", labels={"team": "a"}, mentor=MentorChoice("none"), seed=5)
    first, second = queue_run(store, spec), queue_run(store, RunSpec(name="other"))
    page = tab.page
    async with served(store) as (_, trainer):
        async with served_page(trainer) as read_only:
            await tab.load(f"{read_only}/runs/{first}?tab=spec")
            await tab.sees("pre", "mentorgrad run")
            assert await page.get_by_role("button", name="Cancel").count() == 0
        async with served_page(trainer, allow_actions=True) as address:
            await tab.load(f"{address}/runs/{first}?tab=spec")
            await page.get_by_role("button", name="Python").click()
            program = await page.locator("pre", has_text="from_dict").inner_text()
            await page.get_by_role("button", name="Labels and note").click()
            await page.get_by_role("textbox", name="Labels").fill("team=b\nnew=c=d")
            await page.get_by_role("textbox", name="Note").fill("<b>try</b>")
            await page.get_by_role("button", name="Save").click()
            await tab.sees(".run-note", "<b>try</b>")
            await tab.sees(".chip", "new=c=d")
            await page.get_by_role("button", name="Pause").click()
            await tab.sees("h1 + .state-paused")
            await tab.load(address)
            await page.get_by_label("Choose all runs so far").check()
            await page.get_by_role("button", name="Cancel").press("Enter")
            await page.get_by_role("dialog", name="Cancel 2 runs?").press("Escape")
            assert store.get_run(second).state is RunState.QUEUED
            await page.get_by_role("button", name="Cancel").press("Enter")
            await page.get_by_role("button", name="Yes, cancel").click()
            await tab.sees("[role=status]", "2 runs will be cancelled.")
            await page.get_by_role("button", name="Resume").click()
            await tab.sees("[role=status] li", f"run {second} is cancelled")
        await asyncio.to_thread(exec, program, {})
    run = store.get_run(first)
    assert (run.labels, run.note) == ({"team": "b", "new": "c=d"}, "<b>try</b>")
    (made,) = store.list_runs(RunFilter(states=(RunState.QUEUED,)))
    assert made.spec == spec
