"""Experiments on the page: lists and reports; and the paths of parameters."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from mentorgrad.domain.event import RestartDecided
from mentorgrad.domain.experiment import (
    Arm,
    ArmReport,
    Cell,
    Experiment,
    ExperimentProgress,
    ExperimentSpec,
    ExperimentState,
    Report,
    Variation,
)
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import MentorChoice, Task
from tests.support.told_trainer import ToldTrainer
from tests.unit.ui_service.test_api import asked, browsing
from ui_service import experiment_reports, parameter_paths
from ui_service.experiment_reports import ExperimentReports
from ui_service.parameter_paths import ParameterPaths
from ui_service.shared_reads import SharedReads

SPEC = ExperimentSpec(
    name="which",
    description="does it help?",
    tasks=(Task("toy", description="long"),),
    variations=(Variation("few", {"task.shots": 4}), Variation("many")),
    arms=(Arm("none"), Arm("noise", MentorChoice("perturb"), {"stages.steps": 0})),
    seeds=(0, 1, 2),
)
REPORT = Report(
    "e",
    name="which",
    subject="none",
    verdict="Not known: `none`.",
    arms=(ArmReport("none"), ArmReport("noise")),
    cells=(Cell("r1", "none", "toy", "few", 0, 0.5, state=RunState.SUCCEEDED),),
)


@pytest.fixture
async def trainer() -> ToldTrainer:
    made = ToldTrainer()
    made.experiments["e"] = Experiment("e", "key", SPEC, progress=ExperimentProgress(12, 11))
    made.reports["e"] = REPORT
    return made


@pytest.fixture
async def browser(trainer: ToldTrainer, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with browsing(trainer, tmp_path) as client:
        yield client


async def test_experiments_are_listed_without_what_belongs_to_their_runs(
    browser: httpx.AsyncClient, trainer: ToldTrainer
) -> None:
    found = await asked(browser, "/experiments?page_size=3&page_token=t")
    assert (trainer.lists, found["nextPageToken"]) == ([(3, "t")], "more")
    (listed,) = found["experiments"]
    assert listed["spec"] == {
        "name": "which",
        "description": "does it help?",
        "arms": [{"name": "none"}, {"name": "noise"}],
        "tasks": [{"name": "toy"}],
        "variations": [{"name": "few"}, {"name": "many"}],
        "seeds": ["0", "1", "2"],
        "subject": "none",
    }
    assert listed["progress"]["total"] == "12"
    trainer.experiments.clear()
    assert (await asked(browser, "/experiments"))["experiments"] == []


async def test_an_experiment_has_its_progress_and_the_view_of_its_report(
    browser: httpx.AsyncClient, trainer: ToldTrainer
) -> None:
    found = await asked(browser, "/reports/e")
    assert found["experiment"]["experimentId"] == "e"
    report = found["report"]
    assert report["claim"][1] == {"text": "none", "isName": True}
    assert report["grid"][0]["cells"][0]["planned"] == 6
    assert report["strips"]["panels"][0]["strips"][0]["dots"][0]["runId"] == "r1"
    assert report["results"][0]["columns"][0] == "arm"
    again = await asked(browser, f"/reports/e?version={found['version']}")
    assert again == found | {"report": None}
    await asked(browser, "/reports/e?version=other")
    assert (trainer.calls["get_experiment"], trainer.calls["get_report"]) == (1, 1)
    trainer.go(away=True)
    assert (await asked(browser, "/reports/other", 503))["error"]["reason"] == "UNAVAILABLE"
    assert (await asked(browser, "/experiments", 503))["error"]["reason"] == "UNAVAILABLE"


async def test_a_report_is_computed_again_when_runs_have_ended_but_not_all_the_time(
    trainer: ToldTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1.0  # a report takes a second, and the next one is due nine seconds later
        return now

    reports = ExperimentReports(trainer, clock, SharedReads(seconds=0.0))

    async def read(seconds: float = 0.0, **changes: Any) -> int:
        nonlocal now
        now += seconds
        await asyncio.sleep(0.001)  # the answer before is forgotten
        known = trainer.experiments["e"]
        trainer.experiments["e"] = replace(known, **changes)
        said = json.loads(await reports.read("e"))
        assert said["experiment"]["progress"].get("succeeded", "0") == str(
            trainer.experiments["e"].progress.succeeded
        )
        return trainer.calls["get_report"]

    assert await read() == 1
    assert await read(100, progress=ExperimentProgress(12, 11, time_left=timedelta(1))) == 1
    assert await read(100, progress=ExperimentProgress(12, 10, succeeded=1)) == 2
    assert await read(progress=ExperimentProgress(12, 9, succeeded=2)) == 2
    assert await read(20) == 3
    ended = {"progress": ExperimentProgress(12, succeeded=12), "state": ExperimentState.FINISHED}
    assert await read(**ended) == 4
    assert await read(1000) == 4
    monkeypatch.setattr(experiment_reports, "MOST_KEPT", 1)
    trainer.experiments["f"] = Experiment("f", spec=SPEC)
    trainer.reports["f"] = REPORT
    await reports.read("f")
    assert await read() == 6


async def test_a_path_is_projected_by_the_page(
    browser: httpx.AsyncClient, trainer: ToldTrainer
) -> None:
    trainer.add("a")
    trainer.tell("a", RestartDecided(stage=0, restarted=True))
    found = await asked(browser, "/runs/a/path")
    assert [point["step"] for point in found["points"]] == [1, 2, 3, 4, 5, 6]
    assert [point["isRestart"] for point in found["points"]].index(True) == 2
    assert (found["shares"][0], found["note"]) == (pytest.approx(1.0), "6 snapshots")
    trainer.parameters = 0
    trainer.add("b")
    other = await asked(browser, "/runs/b/path")
    assert other["points"] == []
    assert "capture.content" in other["note"]


@pytest.mark.parametrize(
    ("limits", "steps", "note"),
    [
        ((4, 64 << 20), [1, 3, 4, 6], "4 snapshots, evenly spaced"),
        ((2000, 3 * 12), [1, 4, 6], "3 snapshots, evenly spaced"),
        ((2000, 1), [1, 6], "the first and the last snapshot alone, of 12 bytes each"),
        ((2000, 6 * 12), [1, 2, 3, 4, 5, 6], "6 snapshots"),
    ],
)
async def test_a_path_has_as_many_snapshots_as_the_limits_allow(
    trainer: ToldTrainer,
    monkeypatch: pytest.MonkeyPatch,
    limits: tuple[int, int],
    steps: list[int],
    note: str,
) -> None:
    trainer.add("a")
    monkeypatch.setattr(parameter_paths, "MOST_POINTS", limits[0])
    monkeypatch.setattr(parameter_paths, "MOST_BYTES", limits[1])
    found = json.loads(await ParameterPaths(trainer).read("a", ()))
    assert [point["step"] for point in found["points"]] == steps
    assert found["note"].startswith(note)
