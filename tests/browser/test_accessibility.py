"""What axe finds in the page. It belongs to the page's build, so it is there after `make ui`, and
`make check` runs this, not the suite."""

from __future__ import annotations

from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from mentorgrad.domain.agent import Agent
from run_store.temporary_store import TemporaryRunStore
from tests.support.served_page import served_page
from tests.support.served_runs import queue_run, served
from tests.support.small_experiment import ended_experiment
from tests.support.tabs import STILL, Tab, tab_of
from tests.support.told_predictor import INFO, Told
from tests.support.toy_run import toy_log
from trainer_service.prediction.service import PredictServer

if TYPE_CHECKING:
    from playwright.async_api import Browser

AXE = Path(__file__).parents[2] / "ui/node_modules/axe-core/axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
OF_A_LOOK = [
    *("color-contrast", "link-in-text-block", "scrollable-region-focusable"),
    # Narrow, the rows of a table are boxes, and some labels are not shown.
    *("td-headers-attr", "th-has-data-cells", "empty-table-header", "label", "select-name"),
    *("aria-required-children", "aria-required-parent", "button-name", "link-name"),
]
"""Rules whose findings can change with colours or width; all others look at the document alone."""
LOOKS: tuple[tuple[Literal["light", "dark"], int, list[str]], ...] = (
    ("light", 360, OF_A_LOOK),
    ("dark", 1280, RULES),
)
"""Colour scheme, width of the window in pixels, and tags or names of rules."""
FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
PARTS = ("", "mentor", "candidates", "lineage", "path", "log", "spec")

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="package"),
    pytest.mark.skipif(not AXE.is_file(), reason="no axe: `make ui` installs it"),
]


async def serious(tab: Tab) -> list[str]:
    """What axe calls serious or critical in the present view, everything unfolded: wide and dark,
    and what may differ narrow and light."""
    await tab.page.evaluate("document.querySelectorAll('details').forEach(it => it.open = true)")
    found = []
    for scheme, width, rules in LOOKS:
        await tab.page.emulate_media(color_scheme=scheme)
        await tab.page.set_viewport_size({"width": width, "height": 800})
        await tab.page.evaluate(FRAMES)  # tables learn in a frame whether they scroll
        seen: dict[str, Any] = await tab.page.evaluate(
            "only => axe.run(document, {runOnly: only, resultTypes: ['violations']})", rules
        )
        found += [
            f"{scheme}, {width}: {one['id']}: {one['nodes'][0]['html']}"
            for one in seen["violations"]
            if one["impact"] in ("serious", "critical")
        ]
    return found


async def test_axe_finds_nothing_serious(browser: Browser) -> None:
    async with AsyncExitStack() as stack:
        store = stack.enter_context(closing(TemporaryRunStore()))
        _, trainer = await stack.enter_async_context(served(store))
        experiment = await ended_experiment(store, trainer)
        store.report_agent(Agent("gpu1", "worker", seen_at=datetime.now(UTC)), "it")
        done, queued = store.import_run(toy_log()).run_id, queue_run(store)
        addresses = {f"/runs/{done}?tab={part}": "h1 + .state-succeeded" for part in PARTS}
        addresses |= {
            "/": "tbody a",
            "/experiments": "tbody a",
            f"/experiments/{experiment}": "main h2",
            "/services": "[aria-label=Queue] td",
            f"/compare?run={done}&run={queued}": "[aria-label='Differences of the specs'] td",
            "/nonesuch": ".problem",
            "/classifier": "textarea",
        }
        predictor = PredictServer(Told(), INFO)
        at = await predictor.start()
        stack.push_async_callback(predictor.stop, 0)
        page = await stack.enter_async_context(
            served_page(trainer, predictor=at, allow_actions=True)
        )
        context = await browser.new_context(**STILL)
        stack.push_async_callback(context.close)
        await context.add_init_script(path=AXE)
        tab = await stack.enter_async_context(tab_of(context))
        found = {}
        for address, shown in addresses.items():
            await tab.load(page + address)
            await tab.sees(shown)
            found[address] = await serious(tab)
        await tab.page.get_by_role("textbox", name="Text").fill("a good text")
        await tab.page.get_by_role("button", name="Predict").click()
        await tab.sees("td", "75.0%")
        found["a prediction"] = await serious(tab)
        await tab.load(f"{page}/runs/{queued}")
        await tab.page.get_by_role("button", name="Labels and note").click()
        found["a dialog"] = await serious(tab)
    assert {address: said for address, said in found.items() if said} == {}
