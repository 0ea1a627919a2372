"""Narrow windows: nothing is cut off, and texts of tables are in view."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from mentorgrad.domain.spec import RunSpec
from run_store.temporary_store import TemporaryRunStore
from tests.support.served_page import served_page
from tests.support.served_runs import queue_run, served
from tests.support.tabs import Tab
from tests.support.told_predictor import INFO, Told
from tests.support.toy_run import toy_log
from trainer_service.prediction.service import PredictServer

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package")]

WIDTHS = (640, 360)
"""A window of 1280 pixels at 200 %, and a small telephone."""
CUT_OFF = """width => [...document.querySelectorAll('header *, .tabs *, .folds td, .chart-axis *')]
  .filter(it => it.getBoundingClientRect().right > width).map(it => it.textContent)"""


async def test_everything_is_in_view(tab: Tab, store: TemporaryRunStore) -> None:
    run_id = store.import_run(toy_log()).run_id
    other = queue_run(store, RunSpec(labels={"w" * 100: "v" * 100}))
    async with AsyncExitStack() as stack:
        predictor = PredictServer(Told(), INFO)
        at = await predictor.start()
        stack.push_async_callback(predictor.stop, 0)
        _, trainer = await stack.enter_async_context(served(store))
        page = await stack.enter_async_context(served_page(trainer, predictor=at))
        for address, shown in {
            f"/runs/{run_id}": "[aria-label=Stages] td",
            f"/compare?run={run_id}": "[aria-label=Figures] td",
            f"/runs/{run_id}?tab=candidates": "[aria-label^=Candidates] td",
            f"/runs/{run_id}?tab=spec": "[aria-label=Spec] td",
            "/services": "[aria-label^=Mentors] td",
            f"/compare?run={run_id}&run={other}": ".slider + .slider select",
        }.items():
            await tab.load(page + address)
            await tab.sees(shown)
            await tab.sees("nav a", "Classifier")
            for width in WIDTHS:
                await tab.page.set_viewport_size({"width": width, "height": 800})
                assert await tab.page.evaluate(CUT_OFF, width) == []
                assert await tab.page.evaluate("document.documentElement.scrollWidth") == width
