"""Rows as token ids around a soft prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.domain.objective import CausalPrompt, PromptPosition
from mentorgrad.domain.spec import LongTexts
from mentorgrad.errors import InvalidInput
from tests.support.numerics import CPU, causal_task, tiny_causal
from tests.support.tiny_models import make_causal
from trainer_service.encoding.causal_model import CausalModel
from trainer_service.objectives.causal_prompt.inputs import Inputs, read_inputs
from trainer_service.tasks.data import Row, Split, TaskData

BEFORE: dict[str, Any] = {"position": PromptPosition.BEFORE_TEXT}
LONG = Row(" ".join(["the movie was good"] * 12), 0)


def inputs(
    model: CausalModel | None = None,
    task: TaskData | None = None,
    shown: Sequence[Row] = (),
    **fields: Any,
) -> Inputs:
    under = model or tiny_causal()
    spec = CausalPrompt(**({"n_tokens": 3} | fields))
    return read_inputs(
        spec, task or causal_task(), shown, under.tokenizer, under.tokens, under.max_tokens
    )


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> CausalModel:
    """A model whose tokenizer starts every input with a token."""
    return CausalModel(make_causal(tmp_path_factory.mktemp("bos"), bos=True), CPU)


def written(ids: Sequence[int]) -> str:
    return str(tiny_causal().tokenizer.decode(ids, clean_up_tokenization_spaces=False))


def test_a_row_is_divided_at_the_prompt() -> None:
    row = Row("good film", 0)
    made = inputs()
    assert written(made.own_ids(row)) == "Text: good film\n"
    assert made.tail == ()
    made = inputs(template="Text: {text}\n{prompt}\nSo: {label}")
    assert written(made.own_ids(row)) == "Text: good film\n"
    assert written(made.tail) == "\nSo:"
    assert (made.opening, made.start, made.is_after) == ((), (), True)
    made = inputs(**BEFORE)
    assert written(made.own_ids(row)) == "\nText: good film\nAnswer:"
    assert (made.opening, made.tail, made.start, made.is_after) == ((), (), (), False)


def test_a_row_with_a_prompt_has_the_tokens_of_one_string() -> None:
    """The parts are divided at line breaks, where a tokenizer divides too."""
    for fields in ({}, BEFORE):
        made = inputs(**fields)
        for row in causal_task().train[:6]:
            prompt = made.tokens.token_ids("good movie score")
            own = made.own_ids(row)
            parts = [*own, *prompt, *made.tail] if made.is_after else [*prompt, *own]
            assert parts == made.whole_ids(made.template.prompted(row, "good movie score"))


def test_the_start_token_stands_once_in_front_of_all(begun: CausalModel) -> None:
    start = begun.tokenizer.bos_token_id
    row, shown = Row("good film", 0), [Row("bad film", 0)]
    made = inputs(begun)
    assert made.opening == (start,)
    assert start not in made.own_ids(row)
    made = inputs(begun, shown=shown)
    assert made.opening[0] == start
    assert written(made.opening[1:]) == "Text: bad film\nAnswer: bad\n\n"
    made = inputs(begun, shown=shown, **BEFORE)
    assert made.opening == ()
    own = made.own_ids(row)
    assert own[0] == start
    assert own.count(start) == 1
    assert written(own[1:]) == "\nText: bad film\nAnswer: bad\n\nText: good film\nAnswer:"


def test_a_chat_template_begins_with_its_own_start(begun: CausalModel, tmp_path: Path) -> None:
    model = CausalModel(make_causal(tmp_path, bos=True), CPU)
    with pytest.raises(InvalidInput, match="the model's tokenizer has none"):
        inputs(model, chat_template=True)
    model.tokenizer.chat_template = (
        "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}\n{% endfor %}bot: "
    )
    made = inputs(model, chat_template=True)
    assert made.opening[0] == model.tokenizer.bos_token_id
    assert made.opening.count(made.opening[0]) == 1
    assert written(made.tail) == "\nbot: "
    assert [written(label) for label in made.tree.labels] == ["bad", "good"]
    model.tokenizer.chat_template = "{{ messages[0].content.upper() }}"
    with pytest.raises(InvalidInput) as caught:
        inputs(model, chat_template=True)
    assert caught.value.violations[0].field == "spec.objective.causal_prompt.chat_template"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("", [" bad", " good"]),
        ("{text}\n{prompt}\nAnswer:{label}", ["bad", "good"]),
        ("{text}\n{prompt}\n{label}", ["bad", "good"]),
        ("{text}\n{prompt} the mo{label}", ["bad", "good"]),
    ],
)
def test_labels_have_the_tokens_that_they_have_behind_the_template(
    template: str, words: list[str]
) -> None:
    made = inputs(template=template)
    assert [written(label) for label in made.tree.labels] == words


def test_labels_without_tokens_of_their_own_are_named() -> None:
    for labels, message in ((("bad", "bad"), "have the same tokens"), (("bad", ""), "no tokens")):
        with pytest.raises(InvalidInput, match=message) as caught:
            inputs(task=causal_task(labels), template="{text}\n{prompt}\nAnswer:{label}")
        assert caught.value.reason == "LABEL_TOKENS"


# -- room -------------------------------------------------------------------------------------


def fitted(made: Inputs, *rows: Row, how: LongTexts = LongTexts.TRUNCATE) -> list[Row]:
    found, _ = made.room(how).fitted(rows, Split.TRAIN)
    return found


@pytest.mark.parametrize("fields", [{}, BEFORE, {"labels": ("bad", "good film", "good movie")}])
@pytest.mark.parametrize("limit", [20, 33, 100])
def test_a_truncated_text_fits_and_keeps_its_template(fields: dict[str, Any], limit: int) -> None:
    labels = fields.get("labels", ("bad", "good"))
    given = {name: value for name, value in fields.items() if name != "labels"}
    made = inputs(task=causal_task(labels), max_length=limit, **given)
    whole = made.own_ids(LONG)
    (row,) = fitted(made, LONG)
    own = made.own_ids(row)
    inner = max(made.tree.depths, default=0)
    assert len(own) <= made.most
    if len(whole) > made.most:
        assert len(own) + 3 + len(made.tail) + inner >= limit - 3, "little is wasted"
    assert len(own) + 3 + len(made.tail) + inner <= limit
    assert LONG.text.startswith(row.text)
    assert written(own) == (
        f"Text: {row.text}\n" if made.is_after else f"\nText: {row.text}\nAnswer:"
    )


def test_of_a_pair_the_longer_text_is_truncated() -> None:
    task = TaskData("t", "d", ("bad", "good"), (Row("a", 0, "b"),), (), ())
    made = inputs(task=task, max_length=40)
    (row,) = fitted(made, Row("good film", 0, LONG.text))
    assert row.text == "good film"
    assert 0 < len(row.pair) < len(LONG.text)
    (row,) = fitted(made, Row(LONG.text, 0, LONG.text))
    assert abs(len(row.pair) - len(row.text)) < 12
    assert 0 < len(row.text) < len(LONG.text)


def test_a_text_of_many_bytes_can_be_truncated() -> None:
    """A character of several tokens is left out whole."""
    made = inputs(max_length=20)
    for text in ("🦋" * 20, "Grüße, 你好 " * 9, "\n" * 90, " " * 90, "a" + "🦋" * 9 + "\n" * 9):
        (row,) = fitted(made, Row(text, 0))
        assert len(made.own_ids(row)) <= made.most
        assert text.startswith(row.text)
        assert row.text or text.isspace()


@pytest.mark.parametrize("fields", [{}, BEFORE])
def test_of_a_text_without_its_middle_beginning_and_end_are_left(fields: dict[str, Any]) -> None:
    made = inputs(max_length=40, **fields)
    text = " ".join(f"word{number}" for number in range(90))
    room = made.room(LongTexts.HEAD_TAIL)
    (row, same), cut = room.fitted([Row(text, 0), Row("good", 1)], Split.TRAIN)
    assert (same, cut) == (Row("good", 1), [0])
    begin, end = (row.text[: len(row.text) // 2 - 3], row.text[len(row.text) // 2 + 3 :])
    assert begin
    assert text.startswith(begin)
    assert text.endswith(end)
    assert made.most - 3 <= len(made.own_ids(row)) <= made.most
    for odd in ("🦋" * 20, "\n" * 90, "a" * 90, "Grüße, 你好 " * 9):
        (left,) = fitted(made, Row(odd, 0), how=LongTexts.HEAD_TAIL)
        assert len(made.own_ids(left)) <= made.most


def test_a_text_that_is_too_long_is_an_error_with_its_row() -> None:
    made = inputs()
    fits = Row("good", 0)
    room = made.room(LongTexts.ERROR)
    with pytest.raises(InvalidInput, match="row 3 of selection takes") as caught:
        room.fitted([fits, fits, Row(LONG.text * 4, 0)], Split.SELECTION)
    assert caught.value.reason == "TEXT_TOO_LONG"
    assert "spec.task.long_texts" in str(caught.value)
    assert room.fitted([fits, LONG], Split.SELECTION) == ([fits, LONG], [])


@pytest.mark.parametrize("fields", [{}, BEFORE])
def test_a_prompt_that_leaves_no_room_for_a_text_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"leave -?\d+ of 16 tokens for a row") as caught:
        inputs(n_tokens=13, max_length=16, **fields)
    assert caught.value.reason == "PROMPT_TOO_LONG"
    assert caught.value.violations[0].field == "spec.objective.causal_prompt.n_tokens"
    with pytest.raises(InvalidInput, match="of 128 tokens"):
        inputs(n_tokens=125, **fields)
    least = 16 - inputs(n_tokens=1, max_length=16, **fields).most
    assert inputs(n_tokens=1, max_length=16, **fields).most == 16 - least


def test_labels_with_too_many_tokens_are_refused() -> None:
    task = replace(causal_task(), labels=("good " * 3000, "bad " * 3000))
    with pytest.raises(InvalidInput, match="tokens in all in this model's vocabulary") as caught:
        inputs(task=task)
    (violation,) = caught.value.violations
    assert (violation.field, caught.value.reason) == ("spec.task.labels", "LABEL_TOKENS")


@pytest.mark.parametrize("broken", ["{{ raise_exception('only tools') }}", "{% for %}"])
def test_a_chat_template_that_cannot_be_rendered_is_refused(broken: str, tmp_path: Path) -> None:
    model = CausalModel(make_causal(tmp_path), CPU)
    model.tokenizer.chat_template = broken
    with pytest.raises(InvalidInput, match="cannot be rendered") as caught:
        inputs(model, chat_template=True)
    assert caught.value.violations[0].field == "spec.objective.causal_prompt.chat_template"
