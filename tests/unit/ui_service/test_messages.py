"""The JSON that the page is sent."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.domain.event import RestartDecided, Segment, StateChanged
from mentorgrad.domain.run import Run, RunState, Snapshot, Trajectory
from mentorgrad.errors import InvalidInput, NotFound
from tests.support.event_maker import EventMaker
from ui_service import messages
from ui_service.recorded_events import write

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


@given(texts, st.floats(width=64), st.integers(0, 2**63 - 1))
def test_an_event_is_one_line_and_says_what_was_recorded(text: str, loss: float, step: int) -> None:
    snapshot = Snapshot(step=step, train_loss=loss, text=text)
    event = EventMaker("r")(Segment(0, step, step, (snapshot,)))
    line = write(event).json
    assert b"\n" not in line
    assert b"\r" not in line
    found = json.loads(line)["segment"]["snapshots"][0]
    assert found.get("text", "") == text
    assert found.get("step", "0") == str(step)
    shown = float(found.get("trainLoss", 0.0))
    assert shown == loss or (math.isnan(shown) and math.isnan(loss))


def test_texts_of_callers_are_passed_as_they_are() -> None:
    said = '<img src=x onerror=alert(1)> & "שלום" \u202e \u2028'
    event = EventMaker("r")(StateChanged(RunState.RUNNING, said))
    assert json.loads(write(event).json)["stateChanged"]["reason"] == said


def test_a_number_that_json_does_not_have_is_a_word() -> None:
    assert list(map(messages.number, (1.5, math.nan, math.inf, -math.inf))) == [
        1.5,
        "NaN",
        "Infinity",
        "-Infinity",
    ]
    settings: dict[str, Any] = {"rate": math.inf, "list": [1.0, {"deep": math.nan}]}
    event = EventMaker("r")(RestartDecided(settings=settings))
    found = json.loads(write(event).json)["restartDecided"]["settings"]
    assert found == {"rate": "Infinity", "list": [1, {"deep": "NaN"}]}
    run = json.loads(messages.encoded(messages.of_run(Run(best_selection_loss=-math.inf))))
    assert run["bestSelectionLoss"] == "-Infinity"


def test_a_trajectory_marks_where_a_proposal_was_taken() -> None:
    snapshots = tuple(Snapshot(step=n, train_loss=math.nan, text="a") for n in range(1, 6))
    found = messages.of_trajectory(Trajectory("r", snapshots, (0, 0, 1, 2, 2)), {2})
    assert [point["isRestart"] for point in found["points"]] == [False, False, False, True, False]
    assert found["points"][0] == {
        "step": 1,
        "stage": 0,
        "loss": "NaN",
        "learningRate": 0.0,
        "gradientNorm": 0.0,
        "words": "a",
        "isRestart": False,
    }


def test_an_error_names_the_first_field() -> None:
    error = messages.of_error(InvalidInput.field("order", "must be one of: newest"))["error"]
    assert (error["reason"], error["field"]) == ("INVALID_INPUT", "order")
    assert messages.of_error(NotFound("nothing"))["error"]["field"] == ""


def test_a_lone_surrogate_spoils_no_answer() -> None:
    assert json.loads(messages.encoded({"words": "a\ud800b"})) == {"words": "a?b"}
