from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer

from mentorgrad.cli.support import watching
from mentorgrad.cli.support.event_text import EventFormatter
from mentorgrad.cli.support.output import Output
from mentorgrad.cli.support.watch_positions import WatchPosition
from mentorgrad.domain.event import CandidatesScored, ProposalsReceived, RunEvent, StepDivided
from mentorgrad.domain.run import Run, RunState, Score
from mentorgrad.domain.spec import Budget, RunSpec, Stages
from mentorgrad.errors import Unavailable


class Replay:
    """A client that replays a log, or is stopped after some of it."""

    target = "host:1234"

    def __init__(
        self,
        log: list[RunEvent],
        stopped_after: int | None = None,
        by: BaseException | None = None,
    ) -> None:
        self._log, self._limit, self._by = log, stopped_after, by or KeyboardInterrupt()

    def watch(self, run_id: str, after_seq: int = 0) -> Iterator[RunEvent]:
        for event in self._log:
            if self._limit is not None and event.seq > self._limit:
                raise self._by
            if event.seq > after_seq:
                yield event


NOW = datetime(2026, 1, 2, tzinfo=UTC)
TOY = Run("toy-run", spec=RunSpec(stages=Stages(2, 5)), created_at=NOW, last_seq=12)


def watch(
    client: Any, as_json: bool = False, after_seq: int | None = None, run: Run = TOY
) -> RunState | None:
    out = Output(as_json)
    return watching.watch_run(client, run, out, *watching.start_of(client, run, out, after_seq))


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's state folder, empty at first."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def test_a_run_is_told_in_plain_lines(
    toy_log: list[RunEvent], capsys: pytest.CaptureFixture[str]
) -> None:
    assert watch(Replay(toy_log)) is RunState.SUCCEEDED
    assert capsys.readouterr().out.splitlines() == [
        "label_prompt on tickets, restarts proposed by random_tokens",
        "state: running",
        "stage 1 of 2 from “initial words” on cpu",
        "  step 5: train loss 0.2000",
        "  1 candidate scored: best selection loss 0.6000, accuracy 0.750 (s0/step5, “kind words”)",
        "  random_tokens: 1 proposal in 1.5 s, 7 tokens",
        "  1 candidate scored: best selection loss 0.5000, accuracy 0.750 (s0/p0, “kind words”)",
        "    incumbent s0/step5 0.6000 → 0.5500",
        "    s0/p0 “kind words” applied 0.5000 → 0.4500",
        "  restart from s0/p0 “kind words”",
        "stage 2 of 2 from “kind words” on cpu",
        "  step 10: train loss 0.1000",
        "  1 candidate scored: best selection loss 0.4000, accuracy 0.750 "
        "(s1/step10, “kind words”)",
        "succeeded: test loss 0.4200, accuracy 0.800, selection loss 0.4000, 1 restart",
    ]


def test_the_best_of_the_scored_is_one_with_a_loss(toy_log: list[RunEvent]) -> None:
    (event, *_) = (item for item in toy_log if isinstance(item.payload, CandidatesScored))
    (one,) = event.payload.candidates  # type: ignore[union-attr]
    lost = dataclasses.replace(one, candidate_id="lost", score=Score(math.nan))
    both = dataclasses.replace(event.payload, candidates=(lost, one))  # type: ignore[type-var]
    (line,) = EventFormatter().lines(dataclasses.replace(event, payload=both))
    assert "best selection loss 0.6000" in line


def test_settings_are_shown_where_they_race(toy_log: list[RunEvent]) -> None:
    proposed = {"learning_rate_factor": 0.5}
    formatter, told = EventFormatter(), []
    for event in toy_log:
        payload = event.payload
        if isinstance(payload, ProposalsReceived):
            (one,) = payload.answer.proposals
            one = dataclasses.replace(one, text="", settings=proposed)
            payload = dataclasses.replace(
                payload, answer=dataclasses.replace(payload.answer, proposals=(one,))
            )
        elif isinstance(payload, CandidatesScored):
            candidates = tuple(
                dataclasses.replace(item, settings=proposed) for item in payload.candidates
            )
            payload = dataclasses.replace(payload, candidates=candidates)
        told += formatter.lines(dataclasses.replace(event, payload=payload))
    assert '    s0/p0 {"learning_rate_factor": 0.5} applied 0.5000 → 0.4500' in told
    scored = [line for line in told if "scored" in line]
    assert len(scored) == 2, "only snapshots have a score of their own"


def test_a_clock_that_is_set_back_stops_no_progress_lines(toy_log: list[RunEvent]) -> None:
    formatter, told = EventFormatter(), []
    for event in toy_log:
        day = timedelta(days=1 if event.seq < 6 else 0)
        told += list(formatter.lines(dataclasses.replace(event, time=event.time + day)))
    assert [line for line in told if "train loss" in line] == [
        "  step 5: train loss 0.2000",
        "  step 10: train loss 0.1000",
    ]


def test_an_answer_that_steps_did_not_wait_for_says_how_many(toy_log: list[RunEvent]) -> None:
    (event,) = (e for e in toy_log if isinstance(e.payload, ProposalsReceived))
    late = dataclasses.replace(event.payload, lag_steps=12)
    told = list(EventFormatter().lines(dataclasses.replace(event, payload=late)))
    assert told == ["  random_tokens: 1 proposal in 1.5 s, 7 tokens, 12 steps after the question"]


def test_a_divided_step_says_how_many_rows_pass_at_a_time(toy_log: list[RunEvent]) -> None:
    divided = dataclasses.replace(toy_log[0], payload=StepDivided(0, 3, 4, 8))
    told = list(EventFormatter().lines(divided))
    assert told == ["  a step lacked memory: 8 rows at a time from now on"]


def test_json_is_one_event_a_line(
    toy_log: list[RunEvent], capsys: pytest.CaptureFixture[str]
) -> None:
    watch(Replay(toy_log), as_json=True, after_seq=3)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["seq"] for event in events] == list(range(4, len(toy_log) + 1))
    assert all("parameters" not in next(iter(event["payload"].values())) for event in events)


def test_a_later_command_goes_on_where_one_was_interrupted(
    toy_log: list[RunEvent], state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as caught:
        watch(Replay(toy_log, stopped_after=7))
    assert caught.value.exit_code == 130
    said = capsys.readouterr().err
    assert "the run continues" in said
    assert said.endswith("mentorgrad runs watch toy-run --server host:1234\n")

    with pytest.raises(Unavailable):
        watch(Replay(toy_log, stopped_after=8, by=Unavailable("away")))
    assert "going on after event 7. To see all: mentorgrad runs" in capsys.readouterr().err

    other = Replay(toy_log)
    other.target = "other:1234"
    watch(other)  # another service's run of this id
    assert "label_prompt on tickets" in capsys.readouterr().out

    assert watch(Replay(toy_log)) is RunState.SUCCEEDED
    said = capsys.readouterr().out
    assert "label_prompt on tickets" not in said
    assert said.splitlines()[:2] == [
        "stage 2 of 2 from “kind words” on cpu",
        "  step 10: train loss 0.1000",
    ]

    watch(Replay(toy_log))  # of what was watched to its end, all is shown again
    assert "label_prompt on tickets" in capsys.readouterr().out
    assert list(state.rglob("*.json")) == []


def test_from_the_start_or_as_json_no_position_counts(
    toy_log: list[RunEvent], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit):
        watch(Replay(toy_log, stopped_after=7))
    for as_json, after_seq in ((True, None), (False, 0)):
        capsys.readouterr()
        with pytest.raises(typer.Exit):
            watch(Replay(toy_log, stopped_after=2), as_json, after_seq)
        shown = capsys.readouterr()
        assert len(shown.out.splitlines()) == 2
        assert "going on" not in shown.err


def test_a_position_that_cannot_be_kept_is_said(
    toy_log: list[RunEvent],
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (state / "mentorgrad").write_text("a file where the folder would be")
    for home in ("~/state", "/dev/null/x", str(state)):
        monkeypatch.setenv("XDG_STATE_HOME", home)
        if home.startswith("~"):
            monkeypatch.setattr(Path, "expanduser", no_home)
        with pytest.raises(typer.Exit):
            watch(Replay(toy_log, stopped_after=4))
        monkeypatch.undo()
        said = capsys.readouterr().err
        assert "mentorgrad runs watch toy-run --after-seq 4 --server host:1234" in said


def no_home(self: Path) -> Path:
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"seq": "x"}', '{"seq": 1e999}', "\0"])
def test_a_damaged_position_is_none(state: Path, content: str) -> None:
    position = WatchPosition("host:1", "run")
    assert position.write(3)
    assert position.read() == 3
    (file,) = state.rglob("*.json")
    file.write_text(content)
    assert position.read() == 0


def test_old_positions_go_when_one_is_added(state: Path) -> None:
    WatchPosition("host:1", "old").write(3)
    (file,) = state.rglob("*.json")
    os.utime(file, (0, 0))
    WatchPosition("host:1", "new").write(3)
    assert [json.loads(path.read_text())["run_id"] for path in state.rglob("*.json")] == ["new"]


@pytest.mark.parametrize(
    ("kept", "ended", "start"), [(12, False, 12), (12, True, 0), (13, False, 0), (7, True, 7)]
)
def test_a_position_beyond_what_there_is_to_see_counts_as_none(
    kept: int, ended: bool, start: int
) -> None:
    client: Any = Replay([])
    WatchPosition(client.target, "toy-run").write(kept)
    run = dataclasses.replace(TOY, state=RunState.SUCCEEDED if ended else RunState.RUNNING)
    assert watching.start_of(client, run, Output())[0] == start


def test_on_a_terminal_a_bar_shows_the_steps(
    toy_log: list[RunEvent], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    watch(Replay(toy_log))
    said = capsys.readouterr().out
    assert "restart from s0/p0" in said
    assert "10/10" in said
    assert "train loss 0.2000" not in said


def test_progress_counts_races(toy_log: list[RunEvent]) -> None:
    narrator = EventFormatter()
    for event in toy_log:
        list(narrator.lines(event))
    assert narrator.steps_taken == 14
    assert narrator.run.best_selection_loss == 0.4


@pytest.mark.parametrize(("limit", "total"), [(None, 160), (200, 200), (0, None)])
def test_the_total_of_the_progress_is_the_budgets(limit: int | None, total: int | None) -> None:
    narrator = EventFormatter()
    spec = RunSpec(budget=Budget(gradient_steps=limit))
    narrator.run = Run(spec=spec, created_at=datetime.now(UTC))
    assert narrator.total_steps == total
