"""Every chart can be saved, as rows and as a picture."""

from __future__ import annotations

import csv
import io
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from mentorgrad.domain.spec import Optimizer, RunSpec
from run_store.temporary_store import TemporaryRunStore
from tests.support.event_maker import EventMaker
from tests.support.served_page import served_page
from tests.support.served_runs import Worker, queue_run, served
from tests.support.small_experiment import ended_experiment
from tests.support.tabs import Tab
from tests.support.toy_run import toy_log

if TYPE_CHECKING:
    from playwright.async_api import Locator

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package")]

SVG = "{http://www.w3.org/2000/svg}"
FORMULA = "=1+1"
"""A name that a spreadsheet would calculate."""


async def saved(tab: Tab, frame: Locator, kind: str) -> str:
    """What a chart's button saves."""
    async with tab.page.expect_download() as found:
        await frame.get_by_role("button", name=kind, exact=True).click()
    download = await found.value
    assert download.suggested_filename.endswith(f".{kind.lower()}")
    return (await download.path()).read_text("utf-8")


async def files(tab: Tab) -> list[tuple[str, list[list[str]], ElementTree.Element]]:
    """Of each chart in view its title, the rows of its table and its picture."""
    await tab.sees("figure")
    found = []
    for frame in await tab.page.locator("figure").all():
        rows = list(csv.reader(io.StringIO(await saved(tab, frame, "CSV"))))
        picture = ElementTree.fromstring(await saved(tab, frame, "SVG"))
        assert "var(" not in ElementTree.tostring(picture, "unicode")  # all colours are known
        found.append((picture.findtext(f"{SVG}title", ""), rows, picture))
    return found


def drawn(picture: ElementTree.Element, name: str) -> int:
    return len(list(picture.iter(SVG + name)))


def texts(picture: ElementTree.Element) -> list[str]:
    return ["".join(one.itertext()) for one in picture.iter(f"{SVG}text")]


async def test_charts_of_a_run(tab: Tab, store: TemporaryRunStore) -> None:
    run_id = store.import_run(toy_log()).run_id
    async with served(store) as (_, trainer), served_page(trainer) as page:
        await tab.load(f"{page}/runs/{run_id}")
        await tab.sees("table.matrix")
        loss, accuracy, matrix = await files(tab)
        title, rows, picture = loss
        assert title == "toy, loss"
        assert rows[0] == [
            "step",
            "train",
            "smoothed",
            "best selection",
            "snapshot",
            "proposal",
            "mark",
        ]
        assert rows[-1][:2] == ["10", "0.1"]
        assert [row[-1] for row in rows if row[0] == "5"] == ["▲ restart 1"]
        assert {"▲ restart 1", "steps of the trajectory", "train, smoothed"} <= {*texts(picture)}
        assert accuracy[1][0] == ["step", "best", "snapshot", "proposal"]
        assert matrix[1][1:] == [["good", "9", "1"], ["bad", "3", "7"]]
        assert "9 90.0%" in texts(matrix[2])

        await tab.page.click(".tabs a:has-text('Lineage')")
        await tab.sees(".lineage svg")
        ((_, rows, picture),) = await files(tab)
        came = {row[0]: row[5] for row in rows[1:]}
        assert (came["s0/p0"], came["stage 1"]) == ("s0/step5", "s0/p0")
        assert {"stage 0", "step5", "p0"} <= {*texts(picture)}

        await tab.page.click(".tabs a:has-text('Path')")
        await tab.sees(".drawing svg")
        ((_, rows, picture),) = await files(tab)
        assert [row[0] for row in rows[1:]] == [str(step) for step in range(1, 11)]
        assert drawn(picture, "circle") == 10 + 1 + 1  # snapshots, the start, and the key to it
        assert any(text.startswith("first direction") for text in texts(picture))


async def test_other_charts(tab: Tab, store: TemporaryRunStore) -> None:
    chosen = []
    for name, rate in ((FORMULA, 0.01), ("other", 0.1)):
        spec = replace(RunSpec(name=name), optimizer=Optimizer(learning_rate=rate))
        worker = Worker(store, queue_run(store, spec))
        worker.write(EventMaker.scored(0, rate))
        worker.finish()
        chosen.append(f"run={worker.run_id}")
    async with AsyncExitStack() as stack:
        _, trainer = await stack.enter_async_context(served(store))
        experiment = await ended_experiment(store, trainer)
        page = await stack.enter_async_context(served_page(trainer))

        await tab.load(f"{page}/compare?{'&'.join(chosen)}")
        await tab.sees(".parallel svg")
        curves, parallel = await files(tab)
        assert curves[1][0] == ["step", f"'{FORMULA}", "other"]
        assert FORMULA in texts(curves[2])
        assert parallel[1][1][1:3] == [f"'{FORMULA}", "0.01"]
        assert {"learning_rate", "best loss", "0.01"} <= {*texts(parallel[2])}

        await tab.load(f"{page}/experiments/{experiment}")
        await tab.sees(".panel svg")
        forest, strips, budget = await files(tab)
        assert forest[1][1][0] == "noise"
        assert "vs. noise" in texts(forest[2])
        assert [row[:5] for row in strips[1][1:]] == [
            ["toy", "none", "base", "0", "2"],
            ["toy", "none", "base", "1", "4"],
            ["toy", "noise", "base", "0", "2"],
        ]
        assert drawn(strips[2], "circle") == 3 + 2  # runs, and two keys
        assert ["none", "gradient steps", "10", "200"] in budget[1]
        assert "10 of 200" in texts(budget[2])

        await tab.load(f"{page}/services")
        await tab.sees(".drawing svg")
        ((title, rows, picture),) = await files(tab)
        assert title == "Services, Runs ended, by the hour"
        assert [sum(int(row[column]) for row in rows[1:]) for column in (1, 2, 3)] == [5, 1, 0]
        assert "succeeded 5" in texts(picture)
