"""Attention of frozen models: for query heads that share keys and values, without copies of these,
and on a CPU always in float32.

The attention function of transformers copies keys and values once per query head of a group, and
the backward pass sums the copies' gradients. With the keys and values of long texts in front of
every input, that takes more time than the model's products. Here the queries of a group stand one
behind the other in front of the same keys and values, as transformers itself does it for a single
query.

On a CPU without a unit for tiles of matrices, torch's fused attention is slower in bfloat16 than in
float32, and its backward pass takes eight times as long.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "mentorgrad_grouped"
"""The name by which transformers knows it."""

_NOT_HERE = ("position_bias", "cache", "softcap")
"""Arguments of transformers' function that are not known here."""


def grouped_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """An attention function of transformers.

    Args:
        module: The layer's attention.
        query: [rows, heads, queries, head size].
        key: [rows, groups, tokens, head size].
        value: [rows, groups, tokens, head size].
        attention_mask: bool or added numbers, [rows, 1, queries, tokens].
        scaling: Factor of the products.
        others: What transformers' function takes besides.

    Returns:
        [rows, queries, heads, head size], and no weights.
    """
    dtype = query.dtype
    if query.device.type == "cpu":
        query, key, value = query.float(), key.float(), value.float()
        if attention_mask is not None and attention_mask.is_floating_point():
            attention_mask = attention_mask.float()
    times = query.shape[1] // key.shape[1]
    if times == 1 or attention_mask is None or not _is_plain(attention_mask, others):
        plain: Tensor = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **others
        )[0]
        return plain.to(dtype), None
    rows, heads, queries, size = query.shape
    found = functional.scaled_dot_product_attention(
        query.reshape(rows, heads // times, times * queries, size),
        key,
        value,
        attn_mask=attention_mask.repeat(1, 1, times, 1),
        scale=scaling,
    )
    return found.view(rows, heads, queries, -1).transpose(1, 2).contiguous().to(dtype), None


def _is_plain(mask: Tensor, others: dict[str, Any]) -> bool:
    """Whether all heads have the same mask, and nothing else is asked for."""
    asked = any(others.get(name) is not None for name in _NOT_HERE)
    return mask.shape[1] == 1 and not asked and not others.get("dropout")


def use_grouped_attention(network: Any) -> None:
    """Makes a model use it, if its layers take the attention function that is set."""
    if getattr(network, "_supports_attention_backend", False):
        AttentionInterface.register(NAME, grouped_attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        network.set_attn_implementation(NAME)
