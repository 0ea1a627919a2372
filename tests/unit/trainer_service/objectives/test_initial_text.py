from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mentorgrad.domain.objective import LabelPrompt, PromptTuning
from mentorgrad.domain.spec import RunSpec, Task
from mentorgrad.errors import InvalidInput
from mentorgrad.model_refs import resolve
from tests.support.numerics import encoder, objective, tickets, tiny_task
from trainer_service.control_plane.validation import validate_objective
from trainer_service.encoding.model_files import TokenCounter
from trainer_service.objectives.initial_text import initial_text
from trainer_service.tasks.wordings import wordings

TASK = tiny_task()
WORDINGS = wordings(TASK.description, TASK.labels)


def words(text: str) -> int:
    return len(text.split())


def resolved(text: str, n_tokens: int) -> str:
    return initial_text(PromptTuning(n_tokens=n_tokens, initial_text=text), TASK, words, "here")


@pytest.mark.parametrize("n_tokens", [1, 2, 3, 5, 9, 100])
def test_the_description_is_its_first_wording_that_fits(n_tokens: int) -> None:
    expected = next(text for text in WORDINGS if words(text) <= n_tokens)
    assert resolved("description", n_tokens) == expected


@pytest.mark.parametrize(("n_tokens", "expected"), [(2, "two words"), (1, "")])
def test_an_empty_text_is_the_default_that_fits_or_else_random_words(
    n_tokens: int, expected: str
) -> None:
    for text, found in (("", expected), ("random", "")):
        spec = PromptTuning(n_tokens=n_tokens, initial_text=text)
        assert initial_text(spec, TASK, words, "here", "two words") == found


@pytest.mark.parametrize("text", ["", "two words", "Description", "a description"])
def test_every_other_text_is_taken_as_it_stands(text: str) -> None:
    assert resolved(text, 2) == text


def test_without_a_description_or_room_the_field_is_named() -> None:
    spec = LabelPrompt(n_tokens=1, initial_text="description")
    with pytest.raises(InvalidInput) as empty:
        initial_text(spec, replace(TASK, description=""), words, "here")
    with pytest.raises(InvalidInput) as short:
        initial_text(spec, TASK, len, "here")
    (violation,) = empty.value.violations
    assert violation.field == "here.initial_text"
    assert "no description" in violation.description
    (violation,) = short.value.violations
    assert violation.field == "here.initial_text"
    assert violation.description == (
        "the shortest wording of the task's description has 6 tokens; at most 1 (n_tokens) are "
        "allowed"
    )


def test_a_task_that_is_invalid_itself_is_the_only_violation() -> None:
    spec = RunSpec(LabelPrompt(initial_text="description"), Task("unknown"))
    with pytest.raises(InvalidInput) as caught:
        validate_objective(spec)
    assert [v.field for v in caught.value.violations] == ["spec.task.name"]


@pytest.mark.slow
def test_a_prompt_starts_from_the_words_that_the_check_accepted() -> None:
    card = objective("label_prompt").card
    for n_tokens in (6, 32):
        built = tickets(n_tokens=n_tokens, initial_text="description")
        start = built.language.initial(torch.Generator().manual_seed(0))
        counter = TokenCounter(Path(resolve(LabelPrompt().encoder)))
        expected = next(
            text
            for text in wordings(card.description, card.labels)
            if counter.count(text) <= n_tokens
        )
        ids = encoder().tokens.token_ids(expected)
        vectors = encoder().tokens.vectors[ids]
        assert torch.equal(start[: len(ids)], vectors)


@pytest.mark.slow
def test_an_empty_prompt_has_fillers_alone() -> None:
    start = tickets(n_tokens=3, initial_text="empty").language.initial(torch.Generator())
    filler = encoder().tokens.filler_id
    assert torch.equal(start, encoder().tokens.vectors[[filler] * 3])
