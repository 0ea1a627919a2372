"""Scores labels with a frozen causal language model, behind tokens and soft prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainer_service.encoding.causal_model import CausalModel
from trainer_service.encoding.transfer import on_device
from trainer_service.objectives.causal_prompt.label_tree import LabelTree
from trainer_service.objectives.causal_prompt.text_states import (
    Context,
    States,
    appended,
    new_cache,
)


@dataclass(frozen=True, eq=False)
class Block:
    """A part of the inputs of a batch, as vectors in front of the labels."""

    vectors: Tensor
    """[rows, tokens, width], float32."""
    present: Tensor
    """bool [rows, tokens]: False for padding."""


def joined(blocks: Sequence[Block]) -> Block:
    """Blocks of the same rows, one behind the other."""
    return Block(
        torch.cat([block.vectors for block in blocks], dim=1),
        torch.cat([block.present for block in blocks], dim=1),
    )


class CausalScorer:
    """Scores the labels behind inputs of a language model.

    Args:
        model: The frozen model.
        tree: The labels' tokens.
    """

    def __init__(self, model: CausalModel, tree: LabelTree) -> None:
        self._model = model
        self._device = model.device
        self._tree = tree
        tokens = model.tokens.vectors
        self._nodes = tokens[torch.tensor(tree.tokens, dtype=torch.int64, device=self._device)]
        self._depths = torch.tensor(tree.depths, dtype=torch.int64, device=self._device)
        self._first = torch.tensor([label[0] for label in tree.labels], device=self._device)
        steps = torch.tensor(tree.steps, dtype=torch.int64, device=self._device)
        self._step_labels, self._step_nodes, self._step_tokens = steps.unbind(1)
        self._seen = self._node_mask()

    def _node_mask(self) -> Tensor:
        """bool [nodes, nodes]: which inner nodes each inner node attends to."""
        count = len(self._tree.tokens)
        mask = torch.zeros(count, count, dtype=torch.bool)
        for node in range(count):
            mask[node, self._tree.ancestors(node)] = True
        return mask.to(self._device)

    # -- blocks -------------------------------------------------------------------------------

    def tokens(self, rows: Sequence[Sequence[int]]) -> Block:
        """Token ids of each row, padded on the left."""
        longest = max(map(len, rows), default=0)
        padded = [[0] * (longest - len(row)) + list(row) for row in rows]
        shown = [[False] * (longest - len(row)) + [True] * len(row) for row in rows]
        ids = torch.tensor(padded, dtype=torch.int64).view(len(rows), longest)
        present = torch.tensor(shown, dtype=torch.bool).view(len(rows), longest)
        vectors = self._model.tokens.vectors[on_device(ids, self._device)]
        return Block(vectors, on_device(present, self._device))

    def repeated(self, block: Block, times: int) -> Block:
        """The same rows several times, one after another."""
        return Block(block.vectors.repeat(times, 1, 1), block.present.repeat(times, 1))

    def prompts(self, points: Tensor, rows: int) -> Block:
        """Soft prompts [k, tokens, width] for `rows` rows each: k times `rows` inputs."""
        vectors = points.unsqueeze(1).expand(-1, rows, -1, -1).flatten(0, 1)
        present = torch.ones(vectors.shape[:2], dtype=torch.bool, device=self._device)
        return Block(vectors, present)

    # -- passes -------------------------------------------------------------------------------

    @torch.no_grad()
    def states(self, rows: Sequence[Sequence[int]], context: Context | None = None) -> list[States]:
        """Keys and values of each row's token ids, behind those of the context."""
        block = self.tokens(rows)
        length = block.vectors.shape[1]
        cache = new_cache(context, length)
        self._pass(block, None if context is None else context.present, cache)
        made = appended(cache, length)
        return [made[:, :, i, :, length - len(row) :].clone() for i, row in enumerate(rows)]

    def scores(self, hidden: Tensor) -> Tensor:
        """Log-probabilities of the labels, [rows, labels], float32; differentiable.

        For labels of one token each they are unnormalised over the vocabulary, since a common
        constant does not count.

        Args:
            hidden: Of `hidden`.
        """
        if not self._tree.tokens:
            return self._model.label_logits(hidden[:, 0], self._first)
        logits = self._model.all_logits(hidden)
        found = logits[:, self._step_nodes, self._step_tokens]
        found = found - logits.logsumexp(-1)[:, self._step_nodes]
        summed = found.new_zeros(len(found), len(self._tree.labels))
        return summed.index_add(1, self._step_labels, found)

    def hidden(self, block: Block, context: Context | None = None) -> Tensor:
        """Hidden states at the last token of the inputs and at the tree's inner nodes,
        [rows, 1 + nodes, hidden size]; differentiable.

        Args:
            block: The inputs, padded on the left.
            context: Keys and values in front of them.
        """
        length = block.vectors.shape[1]
        cache = None if context is None else new_cache(context, length + len(self._nodes))
        before = None if context is None else context.present
        return self._pass(block, before, cache, self._nodes)[:, length - 1 :]

    def hidden_behind(self, block: Block, cache: Any, tokens: int) -> Tensor:
        """`hidden`, differentiable in the keys and values of so many tokens too, which a cache of
        transformers holds for each input; None: there are none."""
        before = block.present.new_ones(len(block.present), tokens)
        hidden = self._pass(block, before, cache, self._nodes)
        return hidden[:, block.vectors.shape[1] - 1 :]

    def _pass(
        self, block: Block, before: Tensor | None, cache: Any, nodes: Tensor | None = None
    ) -> Tensor:
        """Hidden states [rows, tokens and nodes, hidden size]; `before` is which tokens of the
        cache are present, bool [rows, cached tokens]."""
        rows, length, _ = block.vectors.shape
        count = 0 if nodes is None else len(nodes)
        vectors, present = block.vectors, block.present
        before = present.new_zeros(rows, 0) if before is None else before
        begin = before.sum(-1, keepdim=True)
        positions = (begin + present.cumsum(-1) - 1).clamp_min(0)
        ones = torch.ones(length, length, dtype=torch.bool, device=self._device)
        # A token of padding attends to itself: a row of the mask without any gives NaN.
        own = torch.eye(length, dtype=torch.bool, device=self._device)
        mask = (ones.tril() & present.unsqueeze(1)) | own
        mask = torch.cat([before.unsqueeze(1).expand(-1, length, -1), mask], dim=2)
        if count and nodes is not None:
            vectors = torch.cat([vectors, nodes.expand(rows, -1, -1)], dim=1)
            last = begin + present.sum(-1, keepdim=True) - 1
            positions = torch.cat([positions, last + self._depths], dim=1)
            beside = mask.new_zeros(rows, length, count)
            shown = torch.cat([before, present], dim=1).unsqueeze(1).expand(-1, count, -1)
            below = torch.cat([shown, self._seen.expand(rows, -1, -1)], dim=2)
            mask = torch.cat([torch.cat([mask, beside], dim=2), below], dim=1)
        return self._model.hidden(
            vectors, mask.unsqueeze(1), positions, cache, use_cache=cache is not None
        )
