"""Replies drawn without replacement, from a model of three tokens."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Hashable

import numpy as np
import pytest
from hypothesis import given
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


COUNT = 800
"""Draws of which shares are taken."""


def is_drawn(times: int, expected: float) -> bool:
    """Whether so many of `COUNT` draws are what a chance gives."""
    spread = np.sqrt(expected * (1 - expected) / COUNT)
    return bool(abs(times / COUNT - expected) <= 5 * spread)


TEXTS = ["", *"ab", *map("".join, itertools.product("ab", repeat=2))]


@pytest.mark.parametrize("seed", range(20))
def test_no_two_are_equal_and_there_are_no_more_than_the_model_says(seed: int) -> None:
    for most in (1, 3, 7, 20):
        found = drawn(most, seed)
        assert len(set(found)) == len(found) == min(most, len(TEXTS))
    assert set(drawn(20, seed)) == set(TEXTS)
    assert drawn(3, seed) == drawn(3, seed)


@pytest.mark.slow
def test_each_is_drawn_as_often_as_the_model_says_it_from_what_is_left() -> None:
    pairs = Counter(tuple(drawn(3, seed)[:2]) for seed in range(COUNT))
    firsts = Counter[str]()
    for (first, _), times in pairs.items():
        firsts[first] += times
    for text in TEXTS:
        assert is_drawn(firsts[text], chance(text))
    for first, second in itertools.permutations(TEXTS, 2):
        assert is_drawn(pairs[first, second], chance(first) * chance(second) / (1 - chance(first)))


@pytest.mark.slow
def test_what_is_excluded_makes_what_leads_to_it_rare() -> None:
    texts = [text for text in TEXTS if "a" not in text]
    firsts = Counter(drawn(2, seed, excluded=1)[0] for seed in range(COUNT))
    assert set(firsts) == set(texts)
    total = sum(map(chance, texts))
    for text in texts:
        assert is_drawn(firsts[text], chance(text) / total)
    assert drawn(9, 1, excluded=END)  # replies that are cut do not end
    assert not set(drawn(9, 1, excluded=END)) & {"", "a", "b"}


@pytest.mark.slow
def test_what_is_known_is_not_drawn_again() -> None:
    known = ("A!", " ab ")
    firsts = Counter(drawn(3, seed, known=known)[0] for seed in range(COUNT))
    total = 1 - chance("a") - chance("ab")
    for text in TEXTS:
        assert is_drawn(firsts[text], 0.0 if text in ("a", "ab") else chance(text) / total)


@pytest.mark.slow
def test_what_counts_as_equal_is_drawn_once_and_as_often_as_all_of_it() -> None:
    def letters(text: str) -> set[str]:
        return {"".join(sorted(text))}

    classes = Counter[str]()
    for text in TEXTS:
        classes["".join(letters(text))] += chance(text)  # type: ignore[assignment]
    pairs = Counter[tuple[str, ...]]()
    for seed in range(COUNT):
        found = drawn(3, seed, forms=letters)
        pairs[tuple("".join(letters(text)) for text in found[:2])] += 1
    for first, second in itertools.permutations(classes, 2):
        assert is_drawn(
            pairs[first, second], classes[first] * classes[second] / (1 - classes[first])
        )
    assert not set(drawn(9, 1, known=("ba",), forms=letters)) & {"ab", "ba"}


WORDS = ("Which", "Is", "the", "a", "kind", "type", "text", "of", "this", "?", ":")
"""Words of a model whose lines are often near copies."""


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
