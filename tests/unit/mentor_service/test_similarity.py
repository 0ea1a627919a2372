from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentor_service.similarity import SimilarityIndex, canonical, edit_distance

WORDS = ["tall", "ship", "sea", "sails", "old", "red"]
PHRASES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=7)


@pytest.mark.parametrize(
    ("text", "same", "near"),
    [
        ("a letter about the order", True, True),
        ("A letter, about the order!", True, True),
        ("the order about a letter", False, True),  # other order
        ("letter order", False, True),  # the same words of meaning
        ("a letter about my order", False, True),
        ("a message about the order", False, True),  # one word is another
        ("a letter about the late order", False, True),  # one more
        ("letter about the order", False, True),  # one less
        ("a message about the parcel", False, False),
        ("a letter", False, False),
        ("", False, False),
    ],
)
def test_what_is_the_same_and_what_is_near(text: str, same: bool, near: bool) -> None:
    known = SimilarityIndex(["a letter about the order"])
    assert known.same(text) is same
    assert known.near(text) is near


def test_short_phrases_say_something_else_by_one_word() -> None:
    known = SimilarityIndex(["message about billing"])
    assert not known.near("message about refunds")
    assert known.near("billing message")


@pytest.mark.slow
@given(one=PHRASES, other=PHRASES)
def test_phrases_of_four_words_are_near_if_one_edit_apart(one: list[str], other: list[str]) -> None:
    distance = edit_distance(tuple(one), tuple(other))
    assert distance == edit_distance(tuple(other), tuple(one))
    assert (distance == 0) == (one == other)
    near = SimilarityIndex([" ".join(one)]).near(" ".join(other))
    if len(other) >= 4 and distance <= 1:
        assert near
    if near:
        assert distance <= 1 or set(one) == set(other)


@given(words=PHRASES, seed=st.integers(0, 1000))
def test_any_order_of_the_words_is_near(words: list[str], seed: int) -> None:
    mixed = random.Random(seed).sample(words, len(words))
    assert SimilarityIndex([" ".join(words)]).near(" ".join(mixed))


def test_very_long_phrases_are_compared_as_a_whole() -> None:
    words = ["sea"] * 5_000
    known = SimilarityIndex([" ".join(words)])
    assert known.same(" ".join(words))
    assert not known.near(" ".join(["ship", *words[1:]]))


@given(st.text(max_size=60))
def test_canonical_is_its_own_canonical_form(text: str) -> None:
    assert canonical(canonical(text)) == canonical(text)
