"""The course of a run over what its steps cost."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mentorgrad.domain.event import Segment, StageStarted
from mentorgrad.domain.run import Snapshot
from run_store.temporary_store import TemporaryRunStore
from tests.support.served_page import served_page
from tests.support.served_runs import Worker, queue_run, served
from tests.support.tabs import Tab

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package")]


async def test_the_loss_is_drawn_over_forward_rows_or_seconds(
    tab: Tab, store: TemporaryRunStore
) -> None:
    worker = Worker(store, queue_run(store))
    steps = tuple(Snapshot(step, 1 / step) for step in (1, 2, 3))
    spent = {"forward_rows": 96, "train_time": timedelta(seconds=6)}
    worker.write(StageStarted(), Segment(0, 1, 3, steps, **spent))
    async with served(store) as (_, trainer), served_page(trainer) as page:
        await tab.load(f"{page}/runs/{worker.run_id}")
        await tab.sees(".chart-axis.below", "steps of the trajectory")
        for name, last in (("forward rows", "96"), ("seconds of training", "6")):
            await tab.page.get_by_role("combobox").select_option(name)
            await tab.sees(".chart-axis.below", name)
            async with tab.page.expect_download() as saved:
                await tab.page.get_by_role("button", name="CSV").click()
            lines = (await (await saved.value).path()).read_text("utf-8").splitlines()
            assert lines[0] == f"step,{name},train,smoothed,best selection"
            assert lines[-1].startswith(f"3,{last},{1 / 3},")
            await tab.page.get_by_role("button", name="Table").click()
            await tab.sees("figure th", name)
            row = tab.page.locator("figure tbody tr").last
            assert (await row.get_by_role("cell").all_inner_texts())[:2] == ["3", last]
            await tab.page.get_by_role("button", name="Table").click()
