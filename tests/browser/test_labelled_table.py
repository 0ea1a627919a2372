"""A table with labels is compared with what the classifier predicts."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from run_store.temporary_store import TemporaryRunStore
from tests.support.served_page import served_page
from tests.support.served_runs import served
from tests.support.tabs import Tab
from tests.support.told_predictor import INFO, Told
from trainer_service.prediction.service import PredictServer

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package")]

TABLE = 'verdict,review\nbad,"a good, <b>dull</b> one"\ngood,good\nbad,dreadful\n'


async def test_errors_of_a_table_are_shown(
    tab: Tab, store: TemporaryRunStore, tmp_path: Path
) -> None:
    file = tmp_path / "reviews.csv"
    file.write_text(TABLE, "utf-8")
    async with AsyncExitStack() as stack:
        predictor = PredictServer(Told(), INFO)
        at = await predictor.start()
        stack.push_async_callback(predictor.stop, 0)
        _, trainer = await stack.enter_async_context(served(store))
        page = await stack.enter_async_context(served_page(trainer, predictor=at))
        await tab.load(f"{page}/classifier")
        await tab.page.get_by_label("File").set_input_files(file)
        await tab.page.get_by_label("Column of the text").select_option("review")
        await tab.page.get_by_label("Column of the label").select_option("verdict")
        await tab.page.get_by_role("button", name="Compare 3 rows").click()
        await tab.sees(".finding-claim", "66.7% right: 1 error in 3 rows")
        errors = tab.page.locator("[aria-label='Most confident errors'] tbody tr")
        found = await errors.get_by_role("cell").all_inner_texts()
        assert found == ["1", "bad", "good", "75.0%", "a good, <b>dull</b> one"]
        await tab.sees("[aria-label='Labels of the table, by prediction'] th", "good")
        await tab.page.get_by_label("Column of the label").select_option("review")
        await tab.page.get_by_role("button", name="Compare 3 rows").click()
        await tab.sees(".problem", "which is no label of the classifier")
