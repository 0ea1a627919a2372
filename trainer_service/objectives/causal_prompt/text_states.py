"""Keys and values of texts in front of a soft prompt, which depend on no parameter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from trainer_service.objectives.length_batches import similar_batches

States = Tensor
"""Keys and values of one text: [layers, 2, heads, tokens, head size], in the model's dtype."""


@dataclass(frozen=True, eq=False)
class Context:
    """Keys and values in front of a batch of inputs, padded on the left."""

    states: Tensor
    """[layers, 2, rows, heads, tokens, head size]; of repeated inputs, once."""
    present: Tensor
    """bool [inputs, tokens]: False for padding; inputs is a multiple of rows."""

    def repeated(self, times: int) -> Context:
        """The same inputs several times, one after another; keys and values are not copied."""
        return self if times == 1 else Context(self.states, self.present.repeat(times, 1))


class _Layer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer: of the context and, after `update`, of the inputs behind it."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """See transformers. The context is copied once, also in front of repeated inputs."""
        self.keys = _behind(self.keys, key_states)
        self.values = _behind(self.values, value_states)
        return self.keys, self.values


def _behind(before: Tensor, own: Tensor) -> Tensor:
    """[rows, heads, tokens, size] and [inputs, heads, own tokens, size] in one tensor."""
    divided = own.view(-1, *before.shape[:2], *own.shape[2:])
    many = before.expand(len(divided), *before.shape)
    return torch.cat([many, divided], dim=-2).flatten(0, 1)


def alike(opening: States, rows: int) -> Context:
    """The opening alone in front of each of `rows` inputs."""
    layers, both, heads, begin, size = opening.shape
    states = opening.unsqueeze(2).expand(layers, both, rows, heads, begin, size)
    present = torch.ones(rows, begin, dtype=torch.bool, device=opening.device)
    return Context(states, present)


def new_cache(context: Context | None) -> DynamicCache:
    """A cache of transformers for one call, which appends to it; the context is not changed."""
    cache = DynamicCache()
    if context is not None:
        cache.layers += [_Layer(keys, values) for keys, values in context.states]
    return cache


def appended(cache: DynamicCache, count: int) -> Tensor:
    """Keys and values of the last `count` tokens: [layers, 2, rows, heads, count, head size]."""
    layers: Any = cache.layers
    pairs = [torch.stack([layer.keys, layer.values]) for layer in layers]
    return torch.stack([pair[..., -count:, :] for pair in pairs])


def batched(rows: Sequence[States], opening: States | None) -> Context:
    """The context of a batch: the opening, which is the same for all, and each row's text."""
    longest = max(row.shape[3] for row in rows)
    layers, both, heads, _, size = rows[0].shape
    begin = 0 if opening is None else opening.shape[3]
    states = rows[0].new_empty(layers, both, len(rows), heads, begin + longest, size)
    present = torch.zeros(len(rows), begin + longest, dtype=torch.bool, device=states.device)
    if opening is not None:
        states[..., :begin, :] = opening.unsqueeze(2)
        present[:, :begin] = True
    for index, row in enumerate(rows):
        pad = begin + longest - row.shape[3]
        states[:, :, index, :, begin:pad] = 0  # masked, but must be finite
        states[:, :, index, :, pad:] = row
        present[index, pad:] = True
    return Context(states, present)


class StateStore:
    """Keeps the states of rows, up to a number of bytes; others are computed when they are used.

    Args:
        rows: Token ids of each row.
        compute: Token ids of some rows → their states.
        most_bytes: Maximum bytes that are kept; the shortest rows come first.
        most_tokens: Maximum tokens per call of `compute`.
    """

    def __init__(
        self,
        rows: Sequence[Sequence[int]],
        compute: Callable[[Sequence[Sequence[int]]], list[States]],
        most_bytes: int,
        most_tokens: int,
    ) -> None:
        self._rows = rows
        self._compute = compute
        self._most_tokens = most_tokens
        self._kept: dict[int, States] = {}
        self.bytes = 0
        """Bytes that are kept."""
        # In fixed batches before anything is asked for: rounding depends on a batch's rows, and a
        # resumed run has to get the same numbers.
        for batch in similar_batches([len(row) for row in rows], most_tokens):
            if self.bytes >= most_bytes:
                break
            for index, made in zip(batch, compute([rows[i] for i in batch]), strict=True):
                if self.bytes + made.nbytes <= most_bytes:
                    self._kept[index] = made
                    self.bytes += made.nbytes

    def __len__(self) -> int:
        """Number of rows whose states are kept."""
        return len(self._kept)

    def get(self, rows: Sequence[int]) -> list[States]:
        """The states of these rows."""
        missing = [row for row in rows if row not in self._kept]
        made: dict[int, States] = {}
        for batch in similar_batches([len(self._rows[row]) for row in missing], self._most_tokens):
            chosen = [missing[i] for i in batch]
            computed = self._compute([self._rows[row] for row in chosen])
            made |= dict(zip(chosen, computed, strict=True))
        return [self._kept[row] if row in self._kept else made[row] for row in rows]
