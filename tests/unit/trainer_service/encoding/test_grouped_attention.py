"""Attention without copies of shared keys and values gives what transformers' own gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tests.support.numerics import CPU
from tests.support.tiny_models import make_causal
from trainer_service.encoding import grouped_attention as tested
from trainer_service.encoding.causal_model import CausalModel

ROWS, QUERIES, TOKENS, SIZE = 3, 4, 9, 8


class Layer(nn.Module):
    """What transformers reads of a layer."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.num_key_value_groups = groups


def attended(function: Any, heads: int, shared: int, mask: Tensor | None, **others: Any) -> Any:
    """Output, and the gradients of queries, keys and values."""
    made = torch.Generator().manual_seed(0)

    def drawn(heads: int, tokens: int) -> Tensor:
        return torch.randn(ROWS, heads, tokens, SIZE, generator=made).requires_grad_()

    given = [drawn(heads, QUERIES), drawn(shared, TOKENS), drawn(shared, TOKENS)]
    found, weights = function(Layer(heads // shared), *given, mask, scaling=0.3, **others)
    assert weights is None
    factors = torch.randn(found.shape, generator=made)
    return [found, *torch.autograd.grad((found * factors).sum(), given)]


def causal() -> Tensor:
    ones = torch.ones(ROWS, 1, QUERIES, TOKENS, dtype=torch.bool)
    mask = ones.tril(TOKENS - QUERIES)
    mask[1, :, :, :2] = False
    return mask


@pytest.mark.parametrize("shared", [1, 2, 6])
@pytest.mark.parametrize("added", [False, True])
def test_it_gives_what_the_copies_give(shared: int, added: bool) -> None:
    mask = causal()
    if added:
        mask = torch.zeros(mask.shape).masked_fill(~mask, float("-inf"))
    expected = attended(sdpa_attention_forward, 6, shared, mask)
    found = attended(tested.grouped_attention, 6, shared, mask)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    "others",
    [{}, {"position_bias": torch.zeros(1, 6, QUERIES, TOKENS)}],
    ids=["without a mask", "a bias per head"],
)
def test_what_it_does_not_know_goes_the_usual_way(
    others: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    def usual(*given: Any, **more: Any) -> Any:
        calls.append(more)
        return sdpa_attention_forward(*given, **more)

    monkeypatch.setattr(tested, "sdpa_attention_forward", usual)
    mask = causal() if others else None
    attended(tested.grouped_attention, 6, 2, mask, is_causal=True, **others)
    assert len(calls) == 1


@pytest.mark.parametrize("shared", [2, 6])
@pytest.mark.parametrize("added", [False, True])
def test_on_a_cpu_it_is_computed_in_float32(shared: int, added: bool) -> None:
    made = torch.Generator().manual_seed(0)
    query, key = (
        torch.randn(ROWS, heads, 4, SIZE, generator=made).bfloat16() for heads in (6, shared)
    )
    mask = torch.ones(ROWS, 1, 4, 4, dtype=torch.bool).tril()
    given = torch.zeros(mask.shape).masked_fill(~mask, float("-inf")).bfloat16() if added else mask
    layer = Layer(6 // shared)
    found, _ = tested.grouped_attention(layer, query, key, key, given, scaling=0.3)
    exact, _ = sdpa_attention_forward(
        layer, query.float(), key.float(), key.float(), mask, scaling=0.3
    )
    assert found.dtype is torch.bfloat16
    assert torch.allclose(found.float(), exact, atol=1e-2)


@pytest.mark.parametrize(("kind", "used"), [("llama", True), ("qwen2", True), ("gpt2", True)])
def test_models_with_the_interface_use_it(kind: str, used: bool, tmp_path: Path) -> None:
    model = CausalModel(make_causal(tmp_path, kind), CPU)
    assert (model.config._attn_implementation == tested.NAME) is used
