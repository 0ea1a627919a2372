"""The view of a report: what the HTML report and the page are made from."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mentorgrad.domain.experiment import ArmReport, Cell, Comparison, Estimate, Figure, Report
from mentorgrad.domain.run import RunState
from mentorgrad.reports import chart_views, design_views
from mentorgrad.reports.html import html
from mentorgrad.reports.markdown import markdown
from mentorgrad.reports.tables import tables
from mentorgrad.reports.texts import TextPart
from mentorgrad.reports.view import as_json, camel_case, report_view

LOSSES = {"mentor": 0.4, "none": 0.6}
TASKS = ("tickets", "moods")


def _cell(arm: str, task: str, seed: int, **changes: Any) -> Cell:
    cell = Cell(f"{arm}-{task}-{seed}", arm, task, "base", seed, LOSSES[arm] + seed / 10, 0.8)
    return dataclasses.replace(cell, **({"state": RunState.SUCCEEDED} | changes))


def _report(**changes: Any) -> Report:
    compared = [
        Comparison("none", Figure.TEST_LOSS, task, "", Estimate(-0.2, -0.3, -0.1, 3), 1.0)
        for task in ("", *TASKS)
    ]
    made = Report(
        experiment_id="exp-1",
        name="which",
        complete=True,
        subject="mentor",
        verdict="The mentor helps (pooled: `none` −0.2); but only 3 seeds were run.",
        arms=tuple(
            ArmReport(name, runs=6, gradient_steps=100.0, test_loss=Estimate(loss, 0.0, 1.0, 6))
            for name, loss in LOSSES.items()
        ),
        comparisons=tuple(compared),
        cells=tuple(_cell(arm, task, seed) for arm in LOSSES for task in TASKS for seed in (2, 0)),
        gradient_steps_limit=200,
    )
    return dataclasses.replace(made, **changes)


def test_the_verdict_has_a_claim_and_its_grounds() -> None:
    view = report_view(_report())
    assert view.claim == (TextPart("The mentor helps"),)
    assert view.grounds == (
        TextPart("(pooled: "),
        TextPart("none", is_name=True),
        TextPart(" −0.2); but only 3 seeds were run."),
    )
    unknown = report_view(_report(verdict="Nothing is known: there is no `none` arm."))
    assert (unknown.claim[1], unknown.grounds) == (TextPart("none", True), ())


def test_differences_have_the_pooled_row_first_and_an_axis_around_zero() -> None:
    chart = report_view(_report()).forest
    assert chart is not None
    assert [(row.label, row.is_pooled, row.reading) for row in chart.rows] == [
        ("vs. none", True, "better"),
        ("tickets", False, "better"),
        ("moods", False, "better"),
    ]
    assert (chart.rows[0].mean, chart.rows[0].low, chart.rows[0].high) == (-0.2, -0.3, -0.1)
    assert chart.low < -0.3 < 0 < chart.high
    one_seed = Comparison("none", difference=Estimate(-0.2, -math.inf, math.inf, 1))
    alone = report_view(_report(comparisons=(one_seed,))).forest
    assert alone is not None
    assert (alone.rows[0].mean, alone.rows[0].low, alone.rows[0].high) == (-0.2, None, None)
    assert alone.rows[0].difference == "−0.2000 (interval unknown)"


def test_every_run_is_a_dot_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart_views, "MOST_DOTS", 2)
    cells = (*_report().cells, _cell("none", "moods", 5, test_loss=math.nan))
    cells += tuple(_cell("mentor", "moods", seed) for seed in (7, 8, 9))
    chart = report_view(_report(cells=cells)).strips
    assert chart is not None
    assert [panel.task for panel in chart.panels] == list(TASKS)
    mentor, none = chart.panels[1].strips
    assert (mentor.runs, [dot.seed for dot in mentor.dots]) == (5, [2, 8])
    assert (mentor.is_subject, none.is_subject) == (True, False)
    assert (none.runs, none.mean) == (2, pytest.approx(0.7))
    assert all(abs(dot.lift) <= 0.13 for dot in mentor.dots)


def test_the_grid_tells_what_is_done_of_what_is_planned() -> None:
    changes = [
        {"state": RunState.RUNNING, "test_loss": None},
        {"state": RunState.FAILED, "test_loss": None, "reason": "out of\nmemory"},
        {"state": RunState.QUEUED, "test_loss": None},
    ]
    cells = [_cell("mentor", "moods", 9 + n, **change) for n, change in enumerate(changes)]
    view = report_view(_report(cells=(*_report().cells, *cells)), planned=6)
    moods = view.grid[0].cells[1]
    assert (moods.task, moods.mean) == ("moods", "0.5000")
    assert (moods.succeeded, moods.failed, moods.running, moods.planned) == (2, 1, 1, 6)
    assert report_view(_report()).grid[0].cells[0].planned == 2


def test_runs_of_one_seed_stand_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [cell for cell in _report().cells if cell.run_id != "none-tickets-0"]
    table = report_view(_report(cells=tuple(cells))).seeds
    assert table.arms == ("mentor", "none")
    assert [(row.task, row.seed) for row in table.rows] == [
        (task, seed) for task in TASKS for seed in (0, 2)
    ]
    assert [run.run_id for run in table.rows[0].runs] == ["mentor-tickets-0", ""]
    assert [run.figure for run in table.rows[1].runs] == ["0.6000", "0.8000"]
    monkeypatch.setattr(design_views, "MOST_SEED_ROWS", 1)
    cut = report_view(_report()).seeds
    assert (len(cut.rows), cut.total) == (1, 4)


def test_runs_without_a_result_are_listed_with_their_reasons() -> None:
    failed = _cell("none", "moods", 4, state=RunState.FAILED, test_loss=None, reason="out of\nrows")
    report = _report(cells=(*_report().cells, failed))
    view = report_view(report)
    assert [(item.run_id, item.reason) for item in view.failures] == [
        (failed.run_id, "out of\nrows")
    ]
    assert view.failed == 1
    row = ("none", "moods", "base", "4", "none-moods-4", "failed", "out of rows")
    (table,) = (item for item in tables(report) if item.title == "Runs without a result")
    assert table.rows == (row,)
    unplotted = dataclasses.replace(report, comparisons=(), cells=(failed,))
    assert "<h2>Runs without a result</h2>" in html(unplotted)
    assert "| none | moods | base | 4 | none-moods-4 | failed | out of rows |" in markdown(report)
    assert "Runs without a result" not in {item.title for item in tables(_report())}


def test_budgets_are_told_with_their_limits() -> None:
    uses = {use.resource: use for use in report_view(_report(forward_rows_limit=5000)).budgets[:3]}
    assert uses["gradient steps"].text == "100 of 200"
    assert (uses["evaluations"].limit, uses["evaluations"].text) == (0, "0")
    assert uses["forward rows"].text == "0 of 5,000"
    (limits,) = (
        item for item in tables(_report(forward_rows_limit=5000)) if "Limits" in item.title
    )
    assert limits.rows[-1] == ("forward rows", "5,000")


@given(
    st.lists(st.none() | st.floats(), min_size=4, max_size=4),
    st.text(max_size=20),
    st.sampled_from(RunState),
)
@example([None, None, 1.7e308, 1.7e308], "", RunState.SUCCEEDED)
def test_any_report_is_json(values: list[float | None], name: str, state: RunState) -> None:
    cells = tuple(
        _cell("none", "moods", seed, test_loss=value, state=state, reason=name)
        for seed, value in enumerate(values)
    )
    one = values[0] or 0.0
    compared = (Comparison(name, difference=Estimate(one, one, one, 1), win_rate=one),)
    report = _report(name=name, verdict=name, cells=cells, comparisons=compared)
    plain = as_json(report_view(report))
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_names_of_json_are_in_camel_case() -> None:
    assert [camel_case(name) for name in ("mean", "is_log", "run_id")] == ["mean", "isLog", "runId"]
    assert set(as_json(TextPart("a"))) == {"text", "isName"}
