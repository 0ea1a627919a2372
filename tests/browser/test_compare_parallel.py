"""Several runs: across parallel axes, and which of their curves are drawn."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mentorgrad.domain.spec import Optimizer, RunSpec
from run_store.temporary_store import TemporaryRunStore
from tests.support.event_maker import EventMaker
from tests.support.served_page import served_page
from tests.support.served_runs import Worker, queue_run, served
from tests.support.tabs import Tab

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package")]


async def test_runs_are_read_axis_by_axis(tab: Tab, store: TemporaryRunStore) -> None:
    made = []
    for name, rate, loss in (("one", 0.01, 0.5), ("other", 0.1, 0.25)):
        spec = replace(RunSpec(name=name), optimizer=Optimizer(learning_rate=rate))
        worker = Worker(store, queue_run(store, spec))
        worker.write(EventMaker.scored(0, loss))
        made.append(f"run={worker.run_id}")
    async with served(store) as (_, trainer), served_page(trainer) as page:
        await tab.load(f"{page}/compare?{'&'.join(made)}")
        drawing = tab.page.locator(".drawing.parallel")
        await drawing.focus()
        await tab.sees(".parallel-read", "best loss · one 0.5000 · other 0.2500")
        await drawing.press("ArrowLeft")
        read = "optimizer.learning_rate · one 0.01 · other 0.1"
        await tab.sees(".parallel-read", read)
        await tab.page.get_by_role("status").filter(has_text=read).wait_for()
        assert await drawing.locator(".parallel-run path").count() == 2
        frame = tab.page.locator("figure", has=drawing)
        await frame.get_by_role("button", name="Table").click()
        row = tab.page.locator("[aria-label='Fields and results'] tbody tr").last
        assert await row.locator("td").all_inner_texts() == ["other", "0.1", "0.2500"]

        await tab.page.get_by_role("button", name="pin one").click()
        await tab.page.get_by_role("button", name="hide other").click()
        await tab.sees(".chart-axis.below", "1 run hidden")
        curves = tab.page.locator("figure").first
        assert await curves.locator(".keys li").all_inner_texts() == ["one"]
        assert tab.page.url.endswith("&".join([*made, f"pin={made[0][4:]}&hide={made[1][4:]}"]))
        await tab.page.reload()
        await tab.sees(".chart-axis.below", "1 run hidden")
