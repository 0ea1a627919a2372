"""Keys and values in front of the inputs of a pass, as layers of transformers read them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class _PrefixLayer(DynamicLayer):  # type: ignore[misc]
    """Of one layer. A pass adds nothing to them, so a layer that is computed again for its gradient
    finds them as they were."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """See transformers: those of the prefix and, behind them, the inputs' own."""
        keys = torch.cat([self.keys, key_states], dim=-2)
        return keys, torch.cat([self.values, value_states], dim=-2)


def prefix_cache(layers: Iterable[tuple[Tensor, Tensor]]) -> DynamicCache:
    """A cache of transformers.

    Args:
        layers: Keys and values of each layer, [inputs, heads, tokens, head size].
    """
    cache = DynamicCache()
    cache.layers.extend(_PrefixLayer(keys, values) for keys, values in layers)
    return cache
