"""The labels as tokens, in a prefix tree: what they share is evaluated once. Imports no torch."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from mentorgrad.errors import InvalidInput

T = TypeVar("T", list[int], "array[int]")

MOST_TOKENS = 256
"""Maximum tokens of a label; they are evaluated one after another."""


@dataclass
class Node:
    """The labels that begin with the same tokens."""

    ends: dict[int, int] = field(default_factory=dict)
    """Next token → the label that it completes."""
    children: dict[int, Node] = field(default_factory=dict)
    """Next token → the labels that go on after it."""

    @property
    def next_tokens(self) -> list[int]:
        """The tokens that can follow: those that complete a label first."""
        return [*self.ends, *self.children]

    @property
    def depth(self) -> int:
        """Tokens that have to be evaluated one after another, beyond the input."""
        return max((1 + child.depth for child in self.children.values()), default=0)


def label_tokens(
    labels: Sequence[str], context: str, tokenize: Callable[[str], Sequence[int]]
) -> list[tuple[int, ...]]:
    """The tokens of each label behind an input. If the tokens of one label begin those of another,
    all labels end with a newline.

    Args:
        labels: The label words.
        context: The end of the input, before the space and the label.
        tokenize: Text → tokens.

    Raises:
        InvalidInput: Two labels have the same tokens, or a label has none of its own or too many
            (reason BAD_LABELS).
    """
    found = [_behind(context, label, tokenize) for label in labels]
    if any(first != other and other[: len(first)] == first for first, other in _pairs(found)):
        found = [_behind(context, f"{label}\n", tokenize) for label in labels]
    for index, ids in enumerate(found):
        if len(ids) > MOST_TOKENS:
            raise InvalidInput.field(
                f"spec.task.labels[{index}]",
                f"has {len(ids)} tokens; at most {MOST_TOKENS} are allowed",
                reason="BAD_LABELS",
            )
        if found.index(ids) < index:
            raise InvalidInput.field(
                "spec.task.labels",
                f"{labels[found.index(ids)]!r} and {labels[index]!r} have the same tokens",
                reason="BAD_LABELS",
            )
    return found


def _pairs(found: Sequence[tuple[int, ...]]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    return ((first, other) for first in found for other in found)


def _behind(context: str, label: str, tokenize: Callable[[str], Sequence[int]]) -> tuple[int, ...]:
    before, whole = tokenize(context), tokenize(f"{context} {label}")
    if whole[: len(before)] != before or len(whole) == len(before):
        raise InvalidInput.field(
            "spec.task.labels",
            f"{label!r} cannot be told apart from the text before it, in the model's tokens",
            reason="BAD_LABELS",
        )
    return tuple(whole[len(before) :])


def prefix_tree(labels: Sequence[Sequence[int]]) -> Node:
    """The tree of labels, none of which begins another."""
    root = Node()
    for index, ids in enumerate(labels):
        node = root
        for token in ids[:-1]:
            node = node.children.setdefault(token, Node())
        node.ends[ids[-1]] = index
    return root


def shared_length(sequences: Sequence[T]) -> int:
    """Length of the longest common prefix."""
    # What the first and the last in lexicographic order share, all share.
    first, last = min(sequences), max(sequences)
    pairs = enumerate(zip(first, last, strict=False))
    return next((i for i, (one, other) in pairs if one != other), min(len(first), len(last)))
