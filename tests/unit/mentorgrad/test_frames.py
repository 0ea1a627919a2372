from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from mentorgrad.domain.event import CandidatesScored, Segment
from mentorgrad.domain.experiment import (
    Arm,
    ArmReport,
    Cell,
    Estimate,
    Experiment,
    ExperimentPage,
    ExperimentSpec,
    Report,
)
from mentorgrad.domain.objective import Function
from mentorgrad.domain.pages import every_item, every_item_async
from mentorgrad.domain.query import CandidatePage, RunPage
from mentorgrad.domain.run import Run, RunState, Trajectory
from mentorgrad.domain.spec import MentorChoice, RunSpec
from mentorgrad.errors import Unsupported
from mentorgrad.frames import to_frame
from tests.support.toy_run import payloads, toy_run


def test_a_frame_has_a_row_per_run_and_a_column_per_field() -> None:
    done, queued = toy_run(), toy_run(1)
    mentor = MentorChoice("perturb", options={"scale": 0.5})
    own = Run("own", spec=RunSpec(Function("levy", 3), mentor=mentor, labels={"arm": "none"}))
    frame = RunPage((done, queued, own)).to_frame()
    assert list(frame["run_id"]) == ["toy-run", "toy-run", "own"]
    assert list(frame["state"]) == ["succeeded", "queued", "queued"]
    assert list(frame["spec.objective"]) == ["label_prompt", "label_prompt", "function"]
    assert list(frame["spec.objective.function.dimensions"])[2] == 3
    assert frame["spec.mentor.options.scale"][2] == 0.5
    assert frame["spec.labels.arm"][2] == "none"
    assert frame["result.test.accuracy"].mean() == 0.8
    assert list(frame["result.baselines.linear_probe.test.loss"].dropna()) == [0.3]
    assert frame["usage.train_time"][0] == timedelta(seconds=2.5)
    assert str(frame["created_at"].dt.tz) == "UTC"
    assert frame["created_at"].isna().tolist() == [False, False, True]
    assert not frame.columns[0].startswith(("spec.", "versions."))


def test_without_rows_or_results_the_columns_are_there_with_their_types() -> None:
    for frame in (RunPage(()).to_frame(), RunPage((toy_run(1),)).to_frame()):
        assert frame["result.test.accuracy"].dtype == float
        assert np.isnan(frame["best_selection_loss"].mean())
        assert str(frame["finished_at"].dtype) == "datetime64[us, UTC]"
        assert frame["result.usage.train_time"].sum() == timedelta()
    assert RunPage(()).to_frame().empty
    assert to_frame([]).empty


def test_a_trajectory_s_frame_has_a_row_per_snapshot() -> None:
    segments = [item for item in payloads() if isinstance(item, Segment)]
    snapshots = tuple(snapshot for item in segments for snapshot in item.snapshots)
    path = Trajectory("toy-run", snapshots, (0,) * 5 + (1,) * 5)
    frame = path.to_frame()
    assert list(frame.columns)[:4] == ["run_id", "stage", "step", "train_loss"]
    assert frame.groupby("stage")["train_loss"].min().tolist() == [0.2, 0.1]
    assert list(Trajectory("empty", (), ()).to_frame().columns) == list(frame.columns)
    assert "<td>last_train_loss</td><td>0.1</td>" in path._repr_html_()


def test_candidates_experiments_and_reports_have_frames() -> None:
    (scored, *_) = (item for item in payloads() if isinstance(item, CandidatesScored))
    assert CandidatePage(scored.candidates).to_frame()["score.loss"].tolist() == [0.6]
    page = ExperimentPage((Experiment("e", spec=ExperimentSpec(arms=(Arm("a"), Arm("b")))),))
    assert page.to_frame()["spec.base.stages.count"].tolist() == [4]
    assert "<td>a, b</td>" in page._repr_html_()
    cells = (Cell("r1", "a", test_loss=0.5, state=RunState.SUCCEEDED), Cell("r2", "b"))
    frame = Report("e", cells=cells).to_frame()
    assert frame[["arm", "state"]].values.tolist() == [["a", "succeeded"], ["b", "queued"]]
    assert frame["test_loss"].mean() == 0.5


def test_what_is_shown_in_a_notebook_is_short_and_escaped() -> None:
    name = "<script>alert(1)</script>\x1b[31m & \u202ename"
    done = toy_run()
    run = replace(done, spec=replace(done.spec, name=name))
    for shown in (run._repr_html_(), RunPage((run,))._repr_html_()):
        assert "<script>" not in shown
        assert "&lt;script&gt;alert(1)&lt;/script&gt;[31m &amp; name" in shown
        assert "<td>0.8</td>" in shown
    arm = ArmReport("<b>", test_loss=Estimate(0.5, 0.4, 0.6, 3), runs=3)
    report = Report("e", name, verdict="`<b>` is better", arms=(arm,), subject="<b>")
    assert "<b>" not in report._repr_html_()
    assert "0.5000 (0.4000 to 0.6000)" in report._repr_html_()


def test_rich_shows_the_main_figures() -> None:
    console = Console(width=200, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(toy_run())
    shown = captured.get()
    assert "state='succeeded'" in shown
    assert "test_accuracy=0.8" in shown
    assert "checkpoint_interval" not in shown
    assert "checkpoint_interval" in repr(toy_run())


def test_a_missing_pandas_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(Unsupported, match=r"frames require pandas; run: pip install .*frame"):
        RunPage((toy_run(),)).to_frame()


def test_pages_iterate_over_their_items_and_lead_to_the_next() -> None:
    runs = [Run(str(number)) for number in range(5)]

    def fetch(token: str) -> RunPage:
        start = int(token or 0)
        return RunPage(tuple(runs[start : start + 2]), str(start + 2) if start < 3 else "")

    def later(token: str) -> Awaitable[RunPage]:
        async def page() -> RunPage:
            return fetch(token)

        return page()

    async def all_later() -> list[Any]:
        return [run async for run in every_item_async(later)]

    assert list(fetch("")) == runs[:2]
    assert len(fetch("4")) == 1
    assert list(every_item(fetch)) == runs
    assert asyncio.run(all_later()) == runs
