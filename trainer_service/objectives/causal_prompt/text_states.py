"""Keys and values of texts in front of a soft prompt, which depend on no parameter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from trainer_service.encoding.transfer import on_device
from trainer_service.objectives.length_batches import similar_batches

States = Tensor
"""Keys and values of one text: [layers, 2, heads, tokens, head size], in the model's dtype."""


@dataclass(frozen=True, eq=False)
class Context:
    """Keys and values in front of a batch of inputs, padded on the left."""

    texts: Sequence[States]
    """Of each row; empty for the opening alone. Of repeated inputs, once."""
    opening: States | None
    """In front of all texts."""
    present: Tensor
    """bool [inputs, tokens]: False for padding; inputs is a multiple of rows."""
    fillers: Sequence[States] = ()
    """Of each row, behind its text, equally many; empty: none."""

    def repeated(self, times: int) -> Context:
        """The same inputs several times, one after another; keys and values are not copied."""
        if times == 1:
            return self
        return replace(self, present=self.present.repeat(times, 1))

    def filled(self, fillers: Sequence[States]) -> Context:
        """With fillers of each row behind its text."""
        count = fillers[0].shape[3]
        return replace(
            self, present=functional.pad(self.present, (0, count), value=True), fillers=fillers
        )

    def before(self, own: int) -> Tensor:
        """Keys and values, with room behind them for those of so many tokens of each input:
        [layers, 2, inputs, heads, tokens + own, head size]."""
        some = self.texts[0] if self.opening is None else self.opening
        layers, both, heads, _, size = some.shape
        inputs, tokens = self.present.shape
        begin = 0 if self.opening is None else self.opening.shape[3]
        made = some.new_empty(layers, both, inputs, heads, tokens + own, size)
        end = tokens - (self.fillers[0].shape[3] if self.fillers else 0)
        if self.opening is not None:
            made[..., :begin, :] = self.opening.unsqueeze(2)
        for index, text in enumerate(self.texts):
            pad = end - text.shape[3]
            same = made[:, :, index :: len(self.texts)]
            same[..., begin:pad, :] = 0  # masked, but must be finite
            same[..., pad:end, :] = text.unsqueeze(2)
        for index, filler in enumerate(self.fillers):
            made[:, :, index :: len(self.fillers), :, end:tokens] = filler.unsqueeze(2)
        return made


class _Behind(torch.autograd.Function):
    """Writes an input's own keys or values into the room behind its context.

    `torch.cat` would copy the context once more, and so would the gradient of torch's own write
    into a part of a tensor.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor, room: tuple[Tensor], begin: int) -> Tensor:
        """[inputs, heads, own tokens, head size] → [inputs, heads, all tokens, head size].

        `room` is a tuple, since to autograd a tensor would be a second input.
        """
        ctx.begin = begin
        (whole,) = room
        whole[..., begin:, :] = own
        return whole

    @staticmethod
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor, None, None]:
        """The context depends on no parameter."""
        return slopes[..., ctx.begin :, :], None, None

    @staticmethod
    def jvp(ctx: Any, own: Tensor, *_: None) -> Tensor:
        """See `backward`."""
        return functional.pad(own, (0, 0, ctx.begin, 0))


class _Layer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer: of the context and, after `update`, of the inputs behind it."""

    def __init__(self, keys: Tensor, values: Tensor, begin: int) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values
        self._seen = begin

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """See transformers. To be called once: the room is that of the inputs."""
        behind: Any = _Behind.apply
        self.keys = behind(key_states, (self.keys,), self._seen)
        self.values = behind(value_states, (self.values,), self._seen)
        self._seen = self.keys.shape[-2]
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """See transformers."""
        return self._seen


def alike(opening: States, rows: int) -> Context:
    """The opening alone in front of each of `rows` inputs."""
    present = torch.ones(rows, opening.shape[3], dtype=torch.bool, device=opening.device)
    return Context((), opening, present)


def new_cache(context: Context | None, own: int) -> DynamicCache:
    """A cache of transformers for one call with so many tokens, which are appended to it."""
    cache = DynamicCache()
    if context is not None:
        begin = context.present.shape[1]
        # What a layer writes is no change of what the attention of another one has kept for its
        # gradient: with `data`, autograd counts the changes of each tensor apart.
        for keys, values in context.before(own):
            cache.layers.append(_Layer(keys.data, values.data, begin))
    return cache


def appended(cache: DynamicCache, count: int) -> Tensor:
    """Keys and values of the last `count` tokens: [layers, 2, rows, heads, count, head size]."""
    layers: Any = cache.layers
    pairs = [(layer.keys, layer.values) for layer in layers]
    last = [part[..., -count:, :] for pair in pairs for part in pair]
    return torch.stack(last).view(len(pairs), 2, *last[0].shape)


def batched(rows: Sequence[States], opening: States | None) -> Context:
    """The context of a batch: the opening, which is the same for all, and each row's text."""
    begin = 0 if opening is None else opening.shape[3]
    sizes = on_device(torch.tensor([row.shape[3] for row in rows]), rows[0].device)
    longest = int(max(row.shape[3] for row in rows))
    places = torch.arange(begin + longest, device=rows[0].device)
    present = (places < begin) | (places >= begin + longest - sizes.unsqueeze(1))
    return Context(rows, opening, present)


class StateStore:
    """Keeps the states of rows, up to a number of bytes; others are computed when they are used.

    Args:
        rows: Token ids of each row.
        compute: Token ids of some rows → their states.
        most_bytes: Maximum bytes that are kept; the shortest rows come first.
        most_tokens: Maximum tokens per call of `compute`.
        token_bytes: Bytes of the states of a token.
        shared: States of the first so many rows of a batch, which another run may have computed.
    """

    def __init__(
        self,
        rows: Sequence[Sequence[int]],
        compute: Callable[[Sequence[Sequence[int]]], list[States]],
        most_bytes: int,
        most_tokens: int,
        token_bytes: int,
        shared: Callable[[Sequence[Sequence[int]], int], Sequence[States]],
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
            sizes = accumulate(len(rows[i]) * token_bytes for i in batch)
            fitting = [size for size in sizes if self.bytes + size <= most_bytes]
            if fitting:
                made = shared([rows[i] for i in batch], len(fitting))
                self._kept |= zip(batch, made, strict=False)
                self.bytes += fitting[-1]
            if len(fitting) < len(batch):
                break

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
