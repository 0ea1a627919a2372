"""The labels' tokens as a tree."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_service.objectives.causal_prompt.label_tree import ROOT, LabelTree

END = (9,)
Tokens = tuple[int, ...]

labels = st.lists(
    st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple),
    min_size=1,
    max_size=8,
    unique=True,
)


def beginning(tree: LabelTree, node: int) -> Tokens:
    """The tokens from the root to a node."""
    if node == ROOT:
        return ()
    return tuple(tree.tokens[index] for index in tree.ancestors(node - 1))


@pytest.mark.slow
@given(words=labels, seed=st.integers(0, 2**31))
def test_the_steps_sum_to_the_score_of_each_label(words: list[Tokens], seed: int) -> None:
    """With any table of log-probabilities of a token behind a beginning."""
    tree = LabelTree.of(words, END)

    def table(before: Tokens, token: int) -> int:
        return sum((seed + i + 1) * t for i, t in enumerate((*before, token))) % 1_009

    begun = any(a != b and b[: len(a)] == a for a in words for b in words)
    assert tree.terminated is begun
    whole = [word + END if begun else word for word in words]
    assert list(tree.labels) == whole
    summed = [0] * len(words)
    for label, node, token in tree.steps:
        summed[label] += table(beginning(tree, node), token)
    expected = [sum(table(word[:i], token) for i, token in enumerate(word)) for word in whole]
    assert summed == expected


@pytest.mark.slow
@given(words=labels)
def test_every_common_beginning_is_one_node(words: list[Tokens]) -> None:
    tree = LabelTree.of(words, END)
    nodes = [beginning(tree, 1 + index) for index in range(len(tree.tokens))]
    expected = {
        begun
        for word in tree.labels
        for begun in accumulate(((token,) for token in word[:-1]), lambda a, b: a + b)
    }
    assert len(nodes) == len(set(nodes))
    assert set(nodes) == expected
    assert list(tree.depths) == [len(node) for node in nodes]
    assert all(parent <= index for index, parent in enumerate(tree.parents)), "parents come first"


def test_labels_of_one_token_need_no_node() -> None:
    tree = LabelTree.of([(5,), (3,)], END)
    assert (tree.tokens, tree.terminated) == ((), False)
    assert tree.steps == ((0, ROOT, 5), (1, ROOT, 3))


@pytest.mark.parametrize(
    ("words", "indices"), [([(1,), ()], (1,)), ([(1,), (2, 3), (1,), (2, 3)], (0, 2))]
)
def test_labels_without_tokens_or_with_the_same_are_named(
    words: list[Tokens], indices: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=r"\d") as caught:
        LabelTree.of(words, END)
    assert caught.value.args == (indices,)
