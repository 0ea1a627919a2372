"""Curves of runs by groups, as the page asks for them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.event_maker import EventMaker
from tests.support.told_trainer import ToldTrainer
from tests.unit.ui_service.test_api import asked, browsing
from tests.unit.ui_service.test_described_answers import check
from ui_service import grouped_curves
from ui_service.grouped_curves import GroupedCurves
from ui_service.requests import CurveKind


@pytest.fixture
def trainer() -> ToldTrainer:
    """Runs a and b with the label `arm`, and c without; each has two scored candidates."""
    told = ToldTrainer()
    for run_id, arm, losses in (("a", "x", (3, 1)), ("b", "x", (5, 7)), ("c", "", (2, 2))):
        told.add(run_id)
        for step, loss in zip((2, 4), losses, strict=True):
            told.tell(run_id, EventMaker.scored(0, loss, step=step))
        labels = {"arm": arm} if arm else {}
        told.runs[run_id] = replace(told.runs[run_id], labels=labels, step=6)
    return told


async def test_runs_are_averaged_by_a_label(trainer: ToldTrainer, tmp_path: Path) -> None:
    async with browsing(trainer, tmp_path) as browser:
        found = await asked(browser, "/compare/groups?run=a&run=b&run=c&run=a&label=arm")
        check(("GET", "/compare/groups"), found)
        group, without = found["groups"]
        assert (group["name"], group["runs"], group["steps"]) == ("x", ["a", "b"], [2, 4, 6])
        assert group["means"] == [4, 3, 3]  # the best so far
        assert (without["name"], without["lows"]) == ("", [None, None])
        found = await asked(browser, "/compare/groups?run=a&run=b&label=arm&curve=train")
        assert found["groups"][0]["steps"] == [1, 2, 3, 4, 5, 6]
        assert found["groups"][0]["means"][1] == 0.5


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("label=arm", "run"),
        ("run=a", "label"),
        ("run=a&label=arm&curve=test", "curve"),
        ("run=a&label=arm&by=1", "by"),
        ("&".join(f"run={n}" for n in range(21)) + "&label=arm", "run"),
    ],
)
async def test_what_cannot_be_grouped_is_refused(
    trainer: ToldTrainer, tmp_path: Path, query: str, field: str
) -> None:
    async with browsing(trainer, tmp_path) as browser:
        answer = await asked(browser, f"/compare/groups?{query}", 400)
        assert answer["error"]["field"] == field


async def test_a_curve_is_read_once_until_its_run_has_gone_on(
    trainer: ToldTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    grouped = GroupedCurves(trainer)

    async def means() -> Any:
        view = json.loads(await grouped.read(["a", "b"], "arm", CurveKind.BEST))
        return view["groups"][0]["means"]

    assert await means() == await means() == [4, 3, 3]
    assert trainer.calls["events"] == 2
    trainer.tell("b", EventMaker.scored(1, 0, step=6))
    assert await means() == [4, 3, 0.5]
    assert trainer.calls["events"] == 3
    monkeypatch.setattr(grouped_curves, "MOST_KEPT", 1)
    await means()
    await means()
    assert trainer.calls["events"] > 3
