"""How many inputs of a language model pass at a time, to limit memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainer_service.encoding.causal_model import CausalModel
from trainer_service.objectives.causal_prompt.label_tree import LabelTree
from trainer_service.objectives.length_batches import similar_batches

MOST_TOKENS = 2048
"""Maximum tokens per pass without gradients, all inputs together."""

MOST_LOGITS = 256 * 1024 * 1024
"""Maximum bytes of logits over the vocabulary in a pass without gradients."""

MOST_ACTIVATIONS = 1024 * 1024 * 1024
"""Maximum bytes of activations that a pass with gradients keeps, about."""

_ACTIVATIONS = 100
"""Bytes of activations that a pass with gradients keeps per token, layer and number of the hidden
state, about."""


class PassLimits:
    """Limits of a model whose inputs end with the labels' inner nodes.

    Args:
        model: The model.
        tree: The labels' tokens.
    """

    def __init__(self, model: CausalModel, tree: LabelTree) -> None:
        config = model.config.get_text_config()
        self._token_bytes: int = _ACTIVATIONS * config.num_hidden_layers * config.hidden_size
        nodes = len(tree.tokens)
        # Of an input's logits over the vocabulary; 0 for labels of one token each.
        self._logit_bytes = 4 * (1 + nodes) * len(model.tokens.vectors) if nodes else 0

    def inputs(self, tokens: int) -> int:
        """Maximum inputs of so many tokens in a pass without gradients."""
        by_logits = MOST_LOGITS // self._logit_bytes if self._logit_bytes else MOST_TOKENS
        return max(1, min(MOST_TOKENS // tokens, by_logits))

    def batches(self, sizes: Sequence[int], beside: int) -> Iterator[tuple[list[int], int]]:
        """Divides rows into batches for passes without gradients.

        Args:
            sizes: Tokens of each row.
            beside: Tokens that each of its inputs has besides.

        Yields:
            Positions in `sizes`, of similar length, and the maximum number of inputs of each.
        """
        for where in similar_batches(sizes, MOST_TOKENS, beside, self.inputs(1)):
            at_once = self.inputs(beside + sizes[where[-1]]) // len(where)
            yield where, max(1, at_once)

    def differentiated(self, rows: int, tokens: int, context_bytes: int = 0) -> int:
        """Maximum parameters in a pass with gradients.

        Args:
            rows: Inputs of each parameter.
            tokens: Tokens of an input that pass.
            context_bytes: Bytes of keys and values in front of an input.
        """
        each = tokens * self._token_bytes + 2 * self._logit_bytes + context_bytes
        return max(1, MOST_ACTIVATIONS // (rows * each))
