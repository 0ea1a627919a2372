"""What a classifier predicts for each label, as a table that is a matrix."""

from __future__ import annotations

import pytest

from run_store.temporary_store import TemporaryRunStore
from tests.support.served_page import served_page
from tests.support.served_runs import served
from tests.support.tabs import Tab
from tests.support.toy_run import toy_log

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package")]


async def test_a_run_shows_what_it_predicts_for_each_label(
    tab: Tab, store: TemporaryRunStore
) -> None:
    run_id = store.import_run(toy_log()).run_id
    async with served(store) as (_, trainer), served_page(trainer) as page:
        await tab.load(f"{page}/runs/{run_id}")
        matrix = tab.page.locator("table.matrix")
        await matrix.wait_for()
        bad = matrix.get_by_role("row").filter(has=tab.page.get_by_role("rowheader", name="bad"))
        assert await bad.get_by_role("cell").all_inner_texts() == ["3 30.0%", "7 70.0%"]
        heads = await matrix.get_by_role("columnheader").all_inner_texts()
        assert [" ".join(head.split()) for head in heads] == [
            "label",
            "predicted: good",
            "predicted: bad",
        ]
        figures = tab.page.locator("div[aria-label='Labels on test'] tbody tr").first
        assert (await figures.inner_text()).split() == [
            "good",
            "10",
            "12",
            "75.0%",
            "90.0%",
            "0.818",
        ]
