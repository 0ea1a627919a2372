"""What a custom training loop says of its job when it opens a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from mentorgrad.domain.advice import TaskCard
from mentorgrad.domain.objective import External
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput
from mentorgrad.session_options import open_request, recording


def test_the_card_is_what_the_loop_says() -> None:
    opened = open_request(
        "what it is about", labels=["a", "b"], proposal="a phrase", place="behind {label}"
    )
    assert opened.card == TaskCard(
        "external", "what it is about", ("a", "b"), "a phrase", "behind {label}"
    )


def test_a_loop_need_not_say_what_a_proposal_is() -> None:
    assert open_request("what it is about").card == TaskCard("external", "what it is about")


def test_the_card_is_bounded() -> None:
    with pytest.raises(InvalidInput, match=r"card\.place"):
        open_request("what it is about", place="x" * 101)


def test_a_file_alone_is_a_recording(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened = open_request("what it is about")
    assert recording(None, opened) is None
    monkeypatch.setenv("HOME", str(tmp_path))
    found = recording(None, opened, file=Path("~/own.jsonl"))
    assert found is not None
    assert (found.to, found.file) == (None, tmp_path / "own.jsonl")
    with pytest.raises(InvalidInput, match="record_to or record_file"):
        recording(None, opened, RunSpec(objective=External()))
