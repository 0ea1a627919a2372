"""What a model's memory keeps of earlier questions, over a memory that checks every step."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentor_service.backends.prefix_cache import CachedPrefix, PrefixCache


class CheckedMemory:
    """Sequences of cells, as llama.cpp has them; refuses what it would refuse."""

    def __init__(self, size: int, divisible: bool = True) -> None:
        self.size = size
        self.divisible = divisible
        self.sequences: dict[int, list[tuple[object, int]]] = {}

    def copy(self, source: int, target: int, length: int) -> None:
        assert not self.sequences.get(target)
        assert 0 < length <= len(self.sequences[source])
        assert self.divisible or length == len(self.sequences[source])
        self.sequences[target] = self.sequences[source][:length]

    def cut(self, sequence: int, length: int) -> None:
        held = self.sequences.get(sequence, [])
        assert self.divisible or length in (0, len(held))
        self.sequences[sequence] = held[:length]

    def evaluate(self, sequence: int, tokens: Sequence[int]) -> None:
        self.sequences.setdefault(sequence, []).extend((object(), token) for token in tokens)
        assert self.used() <= self.size

    def used(self) -> int:
        return len({id(cell) for held in self.sequences.values() for cell, _ in held})

    def tokens(self, sequence: int) -> list[int]:
        return [token for _, token in self.sequences.get(sequence, [])]


class Asked:
    """Asks questions as the engine does."""

    def __init__(self, slots: int = 8, cells: int = 1_000, divisible: bool = True) -> None:
        self.memory = CheckedMemory(cells, divisible)
        self.prefixes = PrefixCache(self.memory, slots, cells, divisible)

    def ask(self, question: Sequence[int], replies: int = 0, stop: int | None = None) -> int:
        """Tokens that had to be evaluated; after `stop` of them the asker went away."""
        slot = self.prefixes.take(question)
        assert slot.tokens == list(question[: len(slot.tokens)])
        assert len(slot.tokens) < len(question)
        rest = question[len(slot.tokens) :]
        free = self.prefixes.room(slot, len(rest) + replies)
        assert free >= len(rest)
        self._grow(slot, rest[:stop])
        assert self.prefixes.used() == self.memory.used()
        return len(rest)

    def _grow(self, slot: CachedPrefix, tokens: Sequence[int]) -> None:
        self.memory.evaluate(slot.sequence, tokens)
        self.prefixes.grew(slot, tokens)
        assert self.memory.tokens(slot.sequence) == slot.tokens


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    return next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


def test_two_sessions_that_take_turns_each_evaluate_only_what_is_new() -> None:
    asked = Asked()
    shared = list(range(100, 150))
    a, b = [*shared, 1], [*shared, 2]
    assert asked.ask(a) == 51
    assert asked.ask(b) == 1
    for turn in range(3, 20):
        a, b = [*a, turn, turn], [*b, turn, turn, turn]
        assert asked.ask(a) == 2
        assert asked.ask(b) == 3
    assert asked.prefixes.used() == 50 + 1 + 1 + 17 * 5


def test_a_question_asked_again_evaluates_its_last_token_and_takes_no_more_room() -> None:
    asked = Asked(slots=2)
    assert asked.ask([1, 2, 3]) == 3
    assert asked.ask([7, 8]) == 2
    for _ in range(5):
        assert asked.ask([1, 2, 3]) == 1
    assert asked.prefixes.used() == 5
    assert asked.ask([7, 8, 9]) == 1


def test_a_question_that_is_the_beginning_of_another_leaves_it_whole() -> None:
    asked = Asked()
    asked.ask([1, 2, 3, 4])
    assert asked.ask([1, 2]) == 1
    assert asked.ask([1, 2, 3, 4, 5]) == 1


def test_the_slot_least_recently_used_goes_first() -> None:
    asked = Asked(slots=2)
    asked.ask([1, 1, 1])
    asked.ask([2, 2, 2])
    asked.ask([1, 1, 1, 1])
    asked.ask([3, 3, 3])
    assert asked.ask([1, 1, 1, 1, 1]) == 1
    assert asked.ask([2, 2, 2]) == 3


def test_other_questions_give_way_to_a_long_one_and_to_many_replies() -> None:
    asked = Asked(cells=100)
    asked.ask([1] * 40)
    asked.ask([2] * 40)
    asked.ask([3] * 10, replies=40)
    assert asked.ask([2] * 41) == 1
    assert asked.ask([1] * 41) == 41
    assert asked.ask([4] * 100) == 100


def test_a_question_given_up_half_way_is_gone_on_with() -> None:
    asked = Asked()
    assert asked.ask(list(range(10)), stop=4) == 10
    assert asked.ask(list(range(10))) == 6
    assert asked.ask(list(range(20, 30)), stop=0) == 10
    assert asked.ask(list(range(20, 30))) == 10


def test_a_recurrent_memory_goes_on_from_ends_only() -> None:
    asked = Asked(slots=2, divisible=False)
    assert asked.ask([1, 2, 3]) == 3
    assert asked.ask([1, 2, 3, 4]) == 1
    assert asked.ask([1, 2, 5]) == 3
    assert asked.ask([1, 2, 3, 4, 6]) == 1
    assert asked.ask([1, 2, 3, 4, 6]) == 5


questions = st.lists(
    st.tuples(
        st.lists(st.integers(0, 1), min_size=1, max_size=8),
        st.integers(0, 8),
    ),
    max_size=40,
)


@given(questions)
def test_what_is_evaluated_is_the_length_without_the_longest_prefix_ever_read(
    told: list[tuple[list[int], int]],
) -> None:
    asked = Asked(slots=40, cells=400)
    read: list[list[int]] = []
    for question, _ in told:
        longest = max((common(question, earlier) for earlier in read), default=0)
        assert asked.ask(question) == len(question) - min(longest, len(question) - 1)
        read.append(question)


@pytest.mark.slow
@given(questions, st.integers(2, 4), st.integers(8, 24), st.booleans())
def test_with_little_room_a_prefix_is_still_the_longest_there_is_and_cells_are_not_exceeded(
    told: list[tuple[list[int], int]], slots: int, cells: int, divisible: bool
) -> None:
    asked = Asked(slots, cells, divisible)
    for question, stop in told:
        held = [asked.memory.tokens(sequence) for sequence in asked.memory.sequences]
        usable = [tokens for tokens in held if divisible or tokens == question[: len(tokens)]]
        longest = max((common(question[:-1], tokens) for tokens in usable), default=0)
        if not divisible:
            longest = max(
                (len(tokens) for tokens in usable if len(tokens) < len(question)), default=0
            )
        assert asked.ask(question, replies=stop, stop=stop) == len(question) - longest


def test_everything_can_be_forgotten() -> None:
    asked = Asked()
    asked.ask([1, 2, 3])
    asked.ask([4, 5])
    asked.prefixes.clear()
    assert asked.memory.used() == asked.prefixes.used() == 0
    assert asked.ask([1, 2, 3]) == 3
