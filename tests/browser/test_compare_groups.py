"""Runs compared by groups of a label."""

from __future__ import annotations

import pytest

from mentorgrad.domain.spec import RunSpec
from run_store.temporary_store import TemporaryRunStore
from tests.support.event_maker import EventMaker
from tests.support.served_page import served_page
from tests.support.served_runs import Worker, queue_run, served
from tests.support.tabs import Tab

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package")]


async def test_groups_have_means_and_bands_and_the_address_holds_the_view(
    tab: Tab, store: TemporaryRunStore
) -> None:
    chosen = []
    for arm, loss in (("one", 0.25), ("one", 0.75), ("other", 0.125)):
        worker = Worker(store, queue_run(store, RunSpec(name=arm, labels={"arm": arm})))
        worker.write(EventMaker.segment(1, 4), EventMaker.scored(0, loss))
        chosen.append(f"run={worker.run_id}")
    async with served(store) as (_, trainer), served_page(trainer) as page:
        await tab.load(f"{page}/compare?{'&'.join(chosen)}")
        frame = tab.page.locator("figure").first
        await frame.get_by_label("Group by").select_option("arm")
        keys = frame.locator(".keys li bdi")
        await keys.filter(has_text="arm=one (2 runs)").wait_for()
        assert await keys.all_inner_texts() == ["arm=one (2 runs)", "arm=other (1 run)"]
        await frame.get_by_role("button", name="Table").click()
        heads = await frame.locator("th").all_inner_texts()
        low, high = (f"arm=one (2 runs), {end} end of 95 %" for end in ("low", "high"))
        assert heads == ["step", low, high, "arm=one (2 runs)", "arm=other (1 run)"]
        last = frame.locator("tbody tr").last.get_by_role("cell")
        found = (await last.all_inner_texts())[1:]
        assert found[2:] == ["0.5000", "0.1250"]
        assert float(found[0].replace("−", "-")) < 0.5 < float(found[1])
        await frame.get_by_role("button", name="Table").click()

        await frame.get_by_role("button", name="Hide arm=other").click()
        await frame.get_by_role("button", name="Pin arm=one").click()
        await frame.get_by_role("button", name="Log axis").click()
        await tab.sees(".chart-axis.below", "1 group hidden")
        address = tab.page.url
        await tab.page.reload()
        await tab.sees(".chart-axis.below", "1 group hidden")
        assert tab.page.url == address
        assert await frame.get_by_label("Group by").input_value() == "arm"
        assert await keys.all_inner_texts() == ["arm=one (2 runs)"]
        for name in ("Pin arm=one (2 runs)", "Log axis"):
            button = frame.get_by_role("button", name=name)
            assert await button.get_attribute("aria-pressed") == "true"
