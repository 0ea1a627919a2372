from __future__ import annotations

import builtins
import dataclasses
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.cli.support.output import Output
from mentorgrad.domain.experiment import (
    ArmReport,
    BaselineReport,
    Cell,
    Comparison,
    Estimate,
    Figure,
    Health,
    Report,
)
from mentorgrad.errors import Unsupported
from mentorgrad.installed import pip_line
from mentorgrad.reports import charts
from mentorgrad.reports.chart_views import MOST_ROWS, forest_chart, strip_chart
from mentorgrad.reports.html import html
from mentorgrad.reports.markdown import markdown
from mentorgrad.reports.tables import is_without_gradient, primary, reading, selected, tables
from mentorgrad.reports.terminal import show
from mentorgrad.reports.texts import interval, number

HOSTILE = (
    '</td><script>alert("x")</script><img src=http://evil.test/a.png>'
    " $x^2$ | `b` **c** &amp; \x1b[31m"
)
"""A name that no server would take, and no report should trip over."""

TASKS = ("tickets", "moods")
OTHERS = ("none", "perturb", "alone")


def _report(subject: str = "mentor", task: str = "moods", **changes: Any) -> Report:
    """Figures of no experiment."""
    tasks = ("tickets", task)
    compared = [
        Comparison(other, figure, place, "", Estimate(-0.1 * n, -0.2 * n, 0.1 * n, 20), 0.75)
        for figure in (Figure.TEST_LOSS, Figure.TEST_ACCURACY)
        for place in ("", *tasks)
        for n, other in enumerate(OTHERS, start=1)
    ]
    arms = [
        ArmReport(
            arm=name,
            uses_llm=name in (subject, "alone"),
            learning_rate=0.05,
            runs=20,
            failed=1,
            test_loss=Estimate(0.5, 0.4, 0.6, 20),
            selection_loss=Estimate(0.4, 0.3, 0.5, 20),
            gradient_steps=0.0 if name == "alone" else 260.0,
            evaluations=61.5,
            forward_rows=31_488.0,
            tokens=2400.0,
            idle_share=0.29,
            changes='{"stages": {"steps": 0}}' if name == "alone" else "",
        )
        for name in (subject, *OTHERS)
    ]
    cells = [
        Cell(f"r{seed}", arm, place, "base", seed, 0.5 + 0.01 * seed, 0.8, 0.4)
        for arm in (subject, *OTHERS)
        for place in tasks
        for seed in range(10)
    ]
    made = Report(
        experiment_id="exp-1",
        name="Does it help?",
        description="A small mentor",
        complete=True,
        subject=subject,
        strongest_control="perturb",
        verdict="The mentor adds nothing (pooled: `none` −0.1 (−0.2 to +0.1)).",
        arms=tuple(arms),
        comparisons=tuple(compared),
        health=(Health(tasks[0], "base", "none", 0.6, 0.25, None, True),),
        cells=tuple(cells),
        gradient_steps_limit=260,
        versions={"torch": "2.8.0"},
        baselines=(BaselineReport("linear_probe", tasks[0], "base", Estimate(0.45, 0.4, 0.5, 10)),),
    )
    return dataclasses.replace(made, **changes)


# -- content ----------------------------------------------------------------------------------


def test_every_table_is_there_and_its_rows_are_whole() -> None:
    made = {table.title: table for table in tables(_report())}
    assert list(made) == [
        "Arms",
        "Arms without gradient steps",
        "Baselines",
        "mentor compared with the other arms",
        "Test loss by task",
        "Cost per run",
        "Health of plain training",
        "Learning rates and other changes",
        "Limits per run",
        "Versions",
    ]
    for table in made.values():
        assert {len(row) for row in table.rows} == {len(table.columns)}
    assert [row[0] for row in made["Arms"].rows] == ["mentor", "none", "perturb"]
    assert made["Arms without gradient steps"].rows[0][:3] == (
        "alone",
        "an LLM",
        "0.5000 (0.4000 to 0.6000)",
    )
    assert made["Baselines"].rows == (
        ("linear_probe", "tickets", "base", "0.4500 (0.4000 to 0.5000)", "–", "10"),
    )
    assert made["mentor compared with the other arms"].rows[0] == (
        "none",
        "test loss",
        "−0.1000 (−0.2000 to +0.1000)",
        "not shown",
        "75.0%",
        "20",
    )
    assert made["Limits per run"].rows == (
        ("gradient steps", "260"),
        ("evaluations", "no limit"),
    )
    assert made["Cost per run"].rows[0][1:7] == ("260", "61.5", "31,488", "0", "0", "2,400")
    assert made["Health of plain training"].rows == (
        ("tickets", "base", "60.0%", "25.0%", "–", "yes"),
    )


def test_one_task_is_not_told_twice() -> None:
    alone = tuple(item for item in _report().comparisons if item.task != "moods")
    assert "Test loss by task" not in {table.title for table in tables(_report(comparisons=alone))}


@pytest.mark.parametrize(
    ("low", "high", "of_loss", "of_accuracy"),
    [
        (-2.0, -1.0, "better", "worse"),
        (1.0, 2.0, "worse", "better"),
        (-1.0, 1.0, "not shown", "not shown"),
        (0.0, 1.0, "not shown", "not shown"),
        (-math.inf, math.inf, "not shown", "not shown"),
    ],
)
def test_a_reading_needs_the_whole_interval(
    low: float, high: float, of_loss: str, of_accuracy: str
) -> None:
    found = Comparison(difference=Estimate(0.5, low, high, 3))
    assert reading(found) == of_loss
    assert reading(dataclasses.replace(found, figure=Figure.TEST_ACCURACY)) == of_accuracy


def test_an_arm_without_gradient_steps_is_told_by_its_changes_or_by_what_it_took() -> None:
    assert is_without_gradient(ArmReport(changes='{"stages": {"steps": 0}}'))
    assert is_without_gradient(ArmReport(changes='{"stages.steps": 0}'))
    assert is_without_gradient(ArmReport(runs=3, gradient_steps=0.0))
    assert not is_without_gradient(ArmReport())
    assert not is_without_gradient(ArmReport(changes='{"stages": {"steps": 40}}'))
    assert not is_without_gradient(ArmReport(changes='{"stages": 0}'))
    assert not is_without_gradient(ArmReport(changes="no JSON"))


def test_the_limits_tell_no_steps_from_no_limit() -> None:
    def limit(report: Report) -> str:
        (table,) = (table for table in tables(report) if table.title == "Limits per run")
        return dict(table.rows)["gradient steps"]

    assert limit(_report()) == "260"
    assert limit(_report(gradient_steps_limit=0)) == "no limit"
    alone = tuple(dataclasses.replace(arm, gradient_steps=0.0) for arm in _report().arms)
    assert limit(_report(gradient_steps_limit=0, arms=alone)) == "0"


def test_figures_that_are_not_there_are_dashes() -> None:
    assert number(None) == number(math.nan) == number(math.inf) == interval(None) == "–"
    assert number(-0.5) == "−0.5000"
    assert interval(Estimate(0.5, -math.inf, math.inf, 1)) == "0.5000 (interval unknown)"


def test_without_a_test_the_selection_loss_is_what_counts() -> None:
    report = _report()
    assert primary(report) is Figure.TEST_LOSS
    assert primary(Report()) is Figure.TEST_LOSS
    untested = [dataclasses.replace(arm, test_loss=None) for arm in report.arms]
    assert primary(dataclasses.replace(report, arms=tuple(untested))) is Figure.SELECTION_LOSS
    assert len(selected(report, Figure.TEST_LOSS, "task")) == 6
    assert selected(report, Figure.TEST_LOSS, "both") == []


# -- Markdown ---------------------------------------------------------------------------------


def test_markdown_has_the_verdict_first_and_all_tables() -> None:
    text = markdown(_report(complete=False))
    assert text.startswith(
        "# Does it help?\n\nA small mentor\n\n**Verdict.** The mentor adds nothing"
    )
    assert "(pooled: `none` −0.1 (−0.2 to +0.1))." in text
    assert "Not all runs have ended" in text
    for table in tables(_report()):
        assert f"\n## {table.title}\n" in text
    assert "| none | test loss | −0.1000 (−0.2000 to +0.1000) | not shown | 75.0% | 20 |" in text


@given(st.text(max_size=60))
def test_no_name_breaks_a_table_out_of_its_columns(name: str) -> None:
    report = Report(name=name, subject="a", arms=(ArmReport(arm=name), ArmReport(arm="a")))
    lines = markdown(report).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    widths = [len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in rows]
    assert widths == [8, 8, 8, 8, 4, 4, 4, 4, 3, 3, 3, 3]
    assert not re.search(r"(?<!\\)[<`]", "".join(rows))


def test_control_characters_stay_out_of_markdown() -> None:
    odd = "two\nlines \x1b[31mred\x9b\u202e"
    text = markdown(_report(odd, odd, name=odd, description=odd, verdict=odd))
    assert text.replace("\n", "").isprintable()


def test_hostile_names_stay_text_in_markdown() -> None:
    text = markdown(_report(HOSTILE, HOSTILE, name=HOSTILE, description=f"# {HOSTILE}"))
    assert not re.search(r"(?<!\\)<", text)
    assert "**c**" not in text
    assert "http://" not in text
    assert "\n# Does" not in text
    assert markdown(_report(description="1. no list")).splitlines()[2] == "1\\. no list"
    assert markdown(_report(description="+ no list")).splitlines()[2] == "\\+ no list"
    assert "\n\n**Verdict.** one \\` tick\n" in markdown(_report(verdict="one ` tick"))


# -- terminal ---------------------------------------------------------------------------------


class _Screen:
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str = "", style: str = "") -> None:
        self.lines.append(text)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        self.lines += ["\t".join(row) for row in [columns, *rows]]


def test_the_terminal_shows_question_verdict_and_tables() -> None:
    screen = _Screen()
    show(_report(), screen)
    assert screen.lines[:2] == ["Does it help?", "A small mentor"]
    assert screen.lines[3].startswith("The mentor adds nothing")
    for table in tables(_report()):
        assert table.title in screen.lines
        assert "\t".join(table.rows[-1]) in screen.lines


def test_names_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show(_report(HOSTILE, HOSTILE, name=HOSTILE, verdict=HOSTILE, complete=False), Output())
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "preliminary" in shown
    assert "none\ttest loss\t−0.1000 (−0.2000 to +0.1000)\tnot shown\t75.0%\t20" in shown


# -- the page ---------------------------------------------------------------------------------

_VOID = {"meta", "img", "br", "hr", "link", "input"}


class _Page(HTMLParser):
    """Reads a page as a browser would, and checks that its elements are nested rightly."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def ids(self) -> Iterator[str]:
        return (value for name, value in self.attributes if name == "id")

    def loaded(self) -> list[str]:
        """What a browser would fetch."""
        return [
            value
            for name, value in self.attributes
            if name in ("src", "href", "xlink:href", "srcset", "data", "action")
        ]


@pytest.mark.slow
def test_the_page_stands_alone() -> None:
    text = html(_report())
    page = _Page(text)
    assert page.tags.count("svg") == 2
    assert not {"script", "link", "iframe", "img", "object", "embed"} & set(page.tags)
    assert all(target.startswith("#") for target in page.loaded())
    assert not re.search(r"url\((?!#)|@import", text)
    ids = list(page.ids())
    assert len(ids) == len(set(ids))
    referred = {target[1:] for target in page.loaded()} | set(re.findall(r"url\(#([^)]+)\)", text))
    assert referred <= set(ids)
    for table in tables(_report()):
        assert table.title in page.texts
    order = [text.index(part) for part in ("<h1>", "Verdict", "<svg", "<table>", "Versions")]
    assert order == sorted(order)
    assert html(_report()) == text


def test_hostile_names_stay_text_in_the_page() -> None:
    report = _report(
        HOSTILE,
        HOSTILE,
        name=HOSTILE,
        description=HOSTILE,
        verdict=f"{HOSTILE} (pooled {HOSTILE})",
        experiment_id=HOSTILE,
        versions={HOSTILE: HOSTILE},
        complete=False,
    )
    page = _Page(html(report))
    assert not {"script", "img"} & set(page.tags)
    assert all(target.startswith("#") for target in page.loaded())
    assert page.tags.count("svg") == 2
    assert sum("<script>" in text for text in page.texts) > 10


def test_letters_that_the_font_lacks_are_drawn_all_the_same() -> None:
    assert "任務" in charts.strips(strip_chart(_report(task="任務")))
    assert "任務" in charts.forest(forest_chart(_report(task="任務")))


@pytest.mark.slow
@pytest.mark.parametrize(
    "bad", [math.nan, *(pytest.param(x, marks=pytest.mark.campaign) for x in (math.inf, -math.inf))]
)
def test_figures_that_diverged_leave_the_plots_whole(bad: float) -> None:
    report = _report()
    compared = (
        Comparison("none", difference=Estimate(bad, -math.inf, math.inf, 1)),
        Comparison("perturb", difference=Estimate(0.25, -math.inf, math.inf, 1)),
    )
    cells = (*report.cells[:5], dataclasses.replace(report.cells[5], test_loss=bad))
    page = _Page(html(dataclasses.replace(report, comparisons=compared, cells=cells)))
    assert page.tags.count("svg") == 2
    assert "+0.2500 (interval unknown)" in page.texts


def test_a_report_without_a_run_is_a_page_without_plots() -> None:
    assert charts.forest(None) == charts.strips(None) == ""
    assert forest_chart(Report()) is strip_chart(Report()) is None
    page = _Page(html(Report(name="nothing yet", subject="a", arms=(ArmReport(arm="a"),))))
    assert "svg" not in page.tags
    assert "a" in page.texts


@pytest.mark.slow
def test_a_forest_has_no_more_rows_than_can_be_read() -> None:
    compared = [
        Comparison("none", task=name, difference=Estimate(0.1, 0.0, 0.2, 9))
        for name in ("", *(f"task{n}" for n in range(MOST_ROWS)))
    ]
    drawn = charts.forest(forest_chart(_report(comparisons=tuple(compared))))
    assert "vs. none" in drawn
    assert "task1" not in drawn
    assert "task1" in charts.forest(forest_chart(_report(comparisons=tuple(compared[:9]))))


def test_arms_without_gradient_steps_do_not_stretch_the_forest() -> None:
    drawn = charts.forest(forest_chart(_report()))
    assert "vs. perturb" in drawn
    assert "against alone" not in drawn


def test_a_missing_matplotlib_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def refuse(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return load(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(Unsupported, match=re.escape(pip_line("plot"))):
        html(_report())
    assert "## Arms" in markdown(_report())
