from __future__ import annotations

import pytest

from trainer_service.tasks.wordings import MAX_CHARACTERS, wordings


def test_a_task_has_many_different_wordings_from_rich_to_short() -> None:
    made = wordings("what the message is about.", ("billing", "refund", "delivery"))
    assert len(set(made)) == len(made) >= 16
    assert made[0] == "What the message is about. Labels: billing, refund, delivery."
    assert "Is this billing, refund or delivery?" in made
    assert "Classify the text as billing, refund or delivery:" in made
    assert "what the message is about" in made
    assert made[-1] == "Class:"
    assert sum(len(text.split()) <= 3 for text in made) >= 6
    assert not any(".." in text or "{" in text or text != text.strip() for text in made)


def test_they_are_the_same_every_time_and_hold_what_they_are_given_as_it_stands() -> None:
    given = ("  a {label}\n in  {braces}?", ("{x}", "y"))
    assert wordings(*given) == wordings(*given)
    assert "a {label} in {braces}" in wordings(*given)
    assert "Is this {x} or y?" in wordings(*given)
    assert "Is this one?" in wordings("what it is", ("one",))


@pytest.mark.parametrize(("description", "labels"), [("", ("a", "b")), (" . ", ("a",)), ("x", ())])
def test_nothing_is_said_of_a_task_that_says_nothing(
    description: str, labels: tuple[str, ...]
) -> None:
    assert wordings(description, labels) == ()


def test_no_wording_is_cut_and_one_that_no_prompt_can_hold_is_left_out() -> None:
    labels = tuple(f"label number {i}" for i in range(1000))
    made = wordings("what it is", labels)
    assert "Task: what it is." in made
    assert max(map(len, made)) <= MAX_CHARACTERS
    assert not any("label number" in text for text in made)
