"""Replies drawn without replacement, from a model of three tokens."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Hashable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mentor_service.backends.distinct_replies import (
    CUT,
    EXCLUDED,
    Choices,
    DistinctReplies,
    ReplySequences,
)
from mentor_service.line_replies import line_forms
from mentor_service.similarity import exact_forms

END = 0
CHANCES = np.array([0.5, 0.4, 0.1])
"""Of the token that ends a reply, and of the words "a" and "b"."""
LONGEST = 2


def ended(tokens: tuple[int, ...]) -> tuple[str, str]:
    text = "".join(" ab"[token] for token in tokens).strip()
    if tokens[-1] == END:
        return text, "stop"
    return text, "done" if len(tokens) == LONGEST else ""


def drawn(
    most: int,
    seed: int,
    excluded: int | None = None,
    known: tuple[str, ...] = (),
    forms: Callable[[str], Collection[Hashable]] = exact_forms,
) -> list[str]:
    choices: Choices = (np.arange(3), np.log(CHANCES))

    def checked(tokens: tuple[int, ...]) -> tuple[str, str]:
        text, finish = ended(tokens)
        return text, EXCLUDED if excluded in tokens else finish

    replies = DistinctReplies(most, 2 * most, np.random.default_rng(seed), checked, known, forms)
    while replies.live:
        assert all(branch.parent <= len(replies.live) for branch in replies.live)
        replies.extend([choices] * len(replies.live))
    return [branch.text for branch in replies.finished]


def chance(text: str) -> float:
    """Of a reply; those that are cut end with a word instead of the end."""
    word = {"a": 0.4, "b": 0.1}
    begun = np.prod([word[letter] for letter in text])
    return float(begun * (1.0 if len(text) == LONGEST else 0.5))


TEXTS = ["", *"ab", *map("".join, itertools.product("ab", repeat=2))]


@pytest.mark.parametrize("seed", range(20))
def test_no_two_are_equal_and_there_are_no_more_than_the_model_says(seed: int) -> None:
    for most in (1, 3, 7, 20):
        found = drawn(most, seed)
        assert len(set(found)) == len(found) == min(most, len(TEXTS))
    assert set(drawn(20, seed)) == set(TEXTS)
    assert drawn(3, seed) == drawn(3, seed)


@pytest.mark.slow
def test_the_first_is_drawn_as_often_as_the_model_says_it() -> None:
    count = 4000
    firsts = Counter(drawn(3, seed)[0] for seed in range(count))
    for text in TEXTS:
        spread = np.sqrt(chance(text) * (1 - chance(text)) / count)
        assert abs(firsts[text] / count - chance(text)) < 5 * spread


@pytest.mark.slow
def test_the_second_is_drawn_from_what_is_left() -> None:
    count = 4000
    pairs = Counter(tuple(drawn(2, seed)) for seed in range(count))
    for first, second in itertools.permutations(TEXTS, 2):
        expected = chance(first) * chance(second) / (1 - chance(first))
        spread = np.sqrt(expected * (1 - expected) / count)
        assert abs(pairs[first, second] / count - expected) < 5 * spread


@pytest.mark.slow
def test_what_is_excluded_makes_what_leads_to_it_rare() -> None:
    count = 4000
    texts = [text for text in TEXTS if "a" not in text]
    firsts = Counter(drawn(2, seed, excluded=1)[0] for seed in range(count))
    assert set(firsts) == set(texts)
    total = sum(map(chance, texts))
    for text in texts:
        expected = chance(text) / total
        spread = np.sqrt(expected * (1 - expected) / count)
        assert abs(firsts[text] / count - expected) < 5 * spread
    assert drawn(9, 1, excluded=END)  # replies that are cut do not end
    assert not set(drawn(9, 1, excluded=END)) & {"", "a", "b"}


@pytest.mark.slow
def test_what_is_known_is_not_drawn_again() -> None:
    count = 4000
    known = ("A!", " ab ")
    firsts = Counter(drawn(3, seed, known=known)[0] for seed in range(count))
    total = 1 - chance("a") - chance("ab")
    for text in TEXTS:
        expected = 0.0 if text in ("a", "ab") else chance(text) / total
        spread = np.sqrt(expected * (1 - expected) / count)
        assert abs(firsts[text] / count - expected) <= 5 * spread


@pytest.mark.slow
def test_what_counts_as_equal_is_drawn_once_and_as_often_as_all_of_it() -> None:
    def letters(text: str) -> set[str]:
        return {"".join(sorted(text))}

    classes = Counter[str]()
    for text in TEXTS:
        classes["".join(letters(text))] += chance(text)  # type: ignore[assignment]
    count = 4000
    pairs = Counter[tuple[str, ...]]()
    for seed in range(count):
        found = drawn(3, seed, forms=letters)
        pairs[tuple("".join(letters(text)) for text in found[:2])] += 1
    for first, second in itertools.permutations(classes, 2):
        expected = classes[first] * classes[second] / (1 - classes[first])
        spread = np.sqrt(expected * (1 - expected) / count)
        assert abs(pairs[first, second] / count - expected) < 5 * spread
    assert not set(drawn(9, 1, known=("ba",), forms=letters)) & {"ab", "ba"}


WORDS = ("Which", "Is", "the", "a", "kind", "type", "text", "of", "this", "?", ":")
"""Words of a model whose lines are often near copies."""


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    words=st.lists(st.sampled_from(WORDS), min_size=2, max_size=6, unique=True),
    known=st.lists(st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join), max_size=3),
    most=st.integers(1, 8),
)
def test_no_two_lines_are_near_copies_of_each_other_or_of_known_ones(
    seed: int, words: list[str], known: list[str], most: int
) -> None:
    random = np.random.default_rng(seed)

    def told(tokens: tuple[int, ...]) -> tuple[str, str]:
        text = " ".join(words[token] for token in tokens if token < len(words))
        return text, "stop" if tokens[-1] == len(words) or len(tokens) == 5 else ""

    replies = DistinctReplies(most, 2 * most, random, told, known, line_forms)
    while replies.live:
        chances = random.dirichlet(np.ones(len(words) + 1), len(replies.live))
        replies.extend([(np.arange(len(words) + 1), np.log(each)) for each in chances])
    found = [line_forms(branch.text) for branch in replies.finished]
    assert all(one.isdisjoint(other) for one, other in itertools.combinations(found, 2))
    assert all(one.isdisjoint(line_forms(text)) for one in found for text in known)


@pytest.mark.parametrize("seed", range(10))
def test_what_has_ended_is_not_lost_to_what_is_in_progress_and_leads_nowhere(seed: int) -> None:
    def leads_nowhere(tokens: tuple[int, ...]) -> tuple[str, str]:
        text, _ = ended(tokens)
        return text, EXCLUDED if len(tokens) == 3 else "stop" if tokens[-1] == END else ""

    replies = DistinctReplies(2, 2, np.random.default_rng(seed), leads_nowhere)
    replies.extend([(np.array([END, 1]), np.log([0.1, 0.9]))])
    while replies.live:
        replies.extend([(np.array([1, 2]), np.log([0.5, 0.5]))] * len(replies.live))
    assert [branch.text for branch in replies.finished] == [""]


def test_those_that_were_cut_come_last_and_only_in_place_of_others() -> None:
    def cut(tokens: tuple[int, ...]) -> tuple[str, str]:
        text, finish = ended(tokens)
        return text, CUT if finish == "done" else finish

    def said(most: int) -> list[str]:
        replies = DistinctReplies(most, 20, np.random.default_rng(3), cut)
        while replies.live:
            replies.extend([(np.arange(3), np.log(CHANCES))] * len(replies.live))
        return [branch.finish for branch in replies.finished]

    assert said(3) == ["stop"] * 3
    assert said(20) == ["stop"] * 3 + [CUT] * 4


class Memory:
    """What each sequence holds; a copy needs an empty target."""

    def __init__(self, origin: list[int]) -> None:
        self.held: dict[int, list[int]] = {0: origin}

    def copy(self, source: int, target: int, length: int) -> None:
        assert not self.held.get(target)
        self.held[target] = self.held[source][:length]

    def cut(self, sequence: int, length: int) -> None:
        self.held[sequence] = self.held.get(sequence, [])[:length]


@pytest.mark.parametrize("seed", range(5))
def test_every_branch_has_a_sequence_that_holds_its_tokens(seed: int) -> None:
    memory = Memory([7, 8])
    sequences = ReplySequences(memory, range(4, 10), 0)
    replies = DistinctReplies(3, 6, np.random.default_rng(seed), ended)
    length = 2
    while replies.live:
        replies.extend([(np.arange(3), np.log(CHANCES))] * len(replies.live))
        held = sequences.follow(replies.live, length)
        assert len(set(held)) == len(held)
        for branch, sequence in zip(replies.live, held, strict=True):
            assert memory.held[sequence] == [7, 8, *branch.reply[:-1]]
            memory.held[sequence].append(branch.reply[-1])
        length += 1
    sequences.clear()
    assert {number: tokens for number, tokens in memory.held.items() if tokens} == {0: [7, 8]}


def test_equal_texts_of_different_tokens_count_once() -> None:
    replies = DistinctReplies(
        9,
        9,
        np.random.default_rng(0),
        lambda tokens: ("same", "stop"),
    )
    replies.extend([(np.arange(3), np.log(CHANCES))])
    assert [branch.text for branch in replies.finished] == ["same"]
    assert not replies.live
