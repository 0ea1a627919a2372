"""How texts are cut where a tokenizer tells only how many tokens there are."""

from __future__ import annotations

from typing import Any

import pytest

from mentorgrad.domain.spec import LongTexts
from mentorgrad.errors import InvalidInput
from trainer_service.objectives.input_template import Template
from trainer_service.objectives.served_prompt.tuned_model import fitted_to
from trainer_service.tasks.data import Row, TaskData

WORDS = " ".join(f"w{number}" for number in range(60))
TEMPLATE = Template("Text: {text}\n", "\nAnswer:", " ")


class Scorer:
    """A tuned model with a token per word."""

    def __init__(self, room: int | None) -> None:
        self.room = room

    def count(self, text: str) -> int:
        return len(text.split())


def fitted(room: int | None, how: LongTexts) -> tuple[TaskData, Any]:
    rows = (Row("short", 0), Row(WORDS, 1))
    scorer: Any = Scorer(room)
    return fitted_to(TaskData("t", "d", ("a", "b"), rows, rows[:1], ()), TEMPLATE, scorer, how)


def test_the_end_of_a_text_is_cut() -> None:
    task, cut = fitted(11, LongTexts.TRUNCATE)
    short, long = task.train
    assert cut == {"train": [1], "selection": [], "test": []}
    assert short.text == "short"
    assert WORDS.startswith(long.text)
    assert 5 <= len(long.text.split()) <= 10


def test_beginning_and_end_of_a_text_are_left() -> None:
    task, _ = fitted(11, LongTexts.HEAD_TAIL)
    words = task.train[1].text.split()
    assert (words[0], words[-1]) == ("w0", "w59")
    assert 5 <= len(words) <= 10


def test_without_a_known_room_texts_are_as_they_are() -> None:
    task, cut = fitted(None, LongTexts.TRUNCATE)
    assert (task.train[1].text, cut) == (WORDS, {})


def test_a_room_that_the_template_takes_is_refused() -> None:
    with pytest.raises(InvalidInput, match="leave 1 tokens for a row; at least 2") as caught:
        fitted(1, LongTexts.TRUNCATE)
    assert caught.value.reason == "PROMPT_TOO_LONG"
