"""The labels' tokens as a prefix tree: one pass over its nodes scores all labels. Imports no
torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ROOT = 0
"""Index of the root: the last position of the input in front of the label."""


@dataclass(frozen=True)
class LabelTree:
    """Labels of one or several tokens, by their common beginnings.

    A label's score is the sum of the log-probabilities of its tokens, each given the tokens in
    front of it. Only tokens that another token follows have to pass through the model.
    """

    labels: tuple[tuple[int, ...], ...]
    """Token ids of each label, the terminator included."""
    tokens: tuple[int, ...]
    """Token id of each inner node, after the root."""
    parents: tuple[int, ...]
    """Parent of each inner node: `ROOT`, or 1 + the index of another inner node."""
    steps: tuple[tuple[int, int, int], ...]
    """(label, node, token): the score of the label contains the log-probability of the token at the
    node (`ROOT`, or 1 + index)."""
    terminated: bool
    """Whether all labels end with the terminator, because one began another."""

    @classmethod
    def of(cls, labels: Sequence[Sequence[int]], terminator: Sequence[int]) -> LabelTree:
        """Builds the tree.

        Args:
            labels: Token ids of each label, at least one each.
            terminator: Tokens that end all labels if one of them begins another.

        Raises:
            ValueError: A label is empty, or two have the same tokens; holds the labels' indices.
        """
        whole = [tuple(label) for label in labels]
        for index, label in enumerate(whole):
            if not label:
                raise ValueError((index,))
            if label in whole[:index]:
                raise ValueError((whole.index(label), index))
        terminated = any(
            one is not other and other[: len(one)] == one for one in whole for other in whole
        )
        if terminated:
            whole = [(*label, *terminator) for label in whole]
        nodes: dict[tuple[int, ...], int] = {(): ROOT}
        steps = []
        for index, label in enumerate(whole):
            for length, token in enumerate(label):
                beginning = label[:length]
                if beginning not in nodes:
                    nodes[beginning] = len(nodes)
                steps.append((index, nodes[beginning], token))
        inner = [beginning for beginning in nodes if beginning]
        return cls(
            labels=tuple(whole),
            tokens=tuple(beginning[-1] for beginning in inner),
            parents=tuple(nodes[beginning[:-1]] for beginning in inner),
            steps=tuple(steps),
            terminated=terminated,
        )

    @property
    def depths(self) -> tuple[int, ...]:
        """Number of tokens from the root to each inner node, itself included."""
        found: list[int] = []
        for parent in self.parents:
            found.append(1 if parent == ROOT else 1 + found[parent - 1])
        return tuple(found)

    def ancestors(self, node: int) -> list[int]:
        """Indices of the inner nodes from the root down to inner node `node`, itself included."""
        path = [node]
        while (parent := self.parents[path[-1]]) != ROOT:
            path.append(parent - 1)
        return path[::-1]
