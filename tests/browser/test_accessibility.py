"""What axe finds in the page. It belongs to the page's build, so it is there after `make ui`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from run_store.temporary_store import TemporaryRunStore
from tests.support.served_page import served_page
from tests.support.served_runs import queue_run, served
from tests.support.tabs import Tab, tab_of
from tests.support.toy_run import toy_log

if TYPE_CHECKING:
    from playwright.async_api import Browser

AXE = Path(__file__).parents[2] / "ui/node_modules/axe-core/axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
PARTS = ("", "mentor", "candidates", "log", "spec")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="package"),
    pytest.mark.skipif(not AXE.is_file(), reason="no axe: `make ui` installs it"),
]


async def serious(tab: Tab) -> list[str]:
    """What axe calls serious or critical in the present view, everything unfolded."""
    await tab.page.evaluate("document.querySelectorAll('details').forEach(it => it.open = true)")
    found: dict[str, Any] = await tab.page.evaluate(
        "tags => axe.run(document, {runOnly: tags, resultTypes: ['violations']})", TAGS
    )
    return [
        f"{one['id']}: {one['nodes'][0]['html']}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1280)])
async def test_axe_finds_nothing_serious(browser: Browser, scheme: Any, width: int) -> None:
    with closing(TemporaryRunStore()) as store:
        done, queued = store.import_run(toy_log()).run_id, queue_run(store)
        addresses = {f"/runs/{done}?tab={part}": "h1 + .state-succeeded" for part in PARTS}
        addresses["/"] = "tbody a"
        addresses[f"/compare?run={done}&run={queued}"] = (
            "[aria-label='Differences of the specs'] td"
        )
        addresses["/nonesuch"] = ".problem"
        context = await browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme
        )
        await context.add_init_script(path=AXE)
        found = {}
        async with (
            served(store) as (_, trainer),
            served_page(trainer) as page,
            tab_of(context) as tab,
        ):
            for address, shown in addresses.items():
                await tab.load(page + address)
                await tab.sees(shown)
                found[address] = await serious(tab)
        await context.close()
    assert {address: said for address, said in found.items() if said} == {}
