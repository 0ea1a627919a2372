"""Layers whose activations are computed again have the same gradients and keep less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mentorgrad.errors import InvalidInput
from tests.support import tiny_models
from tests.support.numerics import CPU, tiny_encoder
from trainer_service.encoding.encoders import TextEncoder


def gradient(encoder: TextEncoder) -> tuple[Tensor, int]:
    """Of a loss by some input embeddings, and the number of tensors that the layers keep for it."""
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    made = torch.Generator().manual_seed(0)
    given = torch.randn(2, 5, encoder.tokens.width, generator=made).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = encoder.hidden(torch.ones(2, 5, dtype=torch.int64), inputs_embeds=given).sum(1)[:, 0]
    return torch.autograd.grad(loss.sum(), given)[0], len(kept)


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "electra", "modernbert"])
def test_the_gradient_is_the_same_and_less_is_kept(kind: str, tmp_path: Path) -> None:
    plain, recomputing = tiny_encoder(kind), TextEncoder(tiny_models.make(tmp_path, kind), CPU)
    recomputing.recompute_layers("checkpointing")
    (expected, all_kept), (found, kept) = gradient(plain), gradient(recomputing)
    assert torch.equal(found, expected)
    assert kept < all_kept / 2


def test_a_model_without_such_layers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder: Any = TextEncoder(tiny_models.make(tmp_path, "bert"), CPU)
    monkeypatch.setattr(encoder, "_model", nn.Linear(2, 2))
    with pytest.raises(InvalidInput) as caught:
        encoder.recompute_layers("spec.objective.lora.checkpointing")
    (violation,) = caught.value.violations
    assert violation.field == "spec.objective.lora.checkpointing"
    assert "(bert) cannot be computed again" in violation.description
