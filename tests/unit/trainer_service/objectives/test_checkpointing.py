"""`checkpointing`: the same gradients from layers that are computed again, and less is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mentorgrad.domain.objective import MultipleChoice, PromptTuning
from tests.support import tiny_models
from tests.support.adapters import somewhere
from tests.support.numerics import (
    ADAPTED_CAUSAL,
    ADAPTERS,
    CPU,
    built_on,
    causal_task,
    choice_task,
    tiny_task,
)
from trainer_service.encoding.causal_model import CausalModel
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.protocols import Objective

ON_ENCODERS: dict[str, Any] = {
    "prompt_tuning": PromptTuning(n_tokens=3),
    "multiple_choice": MultipleChoice(n_tokens=3),
    **ADAPTERS,
}
OPT = {"word_embed_proj_dim": 16, "ffn_dim": 32, "num_key_value_heads": 2}


def on_encoder(folder: Path, name: str, kind: str, checkpointing: bool) -> Objective:
    """Objectives of a name are over equal models: a model is changed when layers are recomputed."""
    under = TextEncoder(tiny_models.make(folder / str(checkpointing), kind), CPU)
    task = choice_task() if name == "multiple_choice" else tiny_task()
    return built_on(under, replace(ON_ENCODERS[name], checkpointing=checkpointing), task)


def on_language_model(folder: Path, name: str, kind: str, checkpointing: bool) -> Objective:
    fields: dict[str, Any] = OPT if kind == "opt" else {}
    base = tiny_models.make_causal(folder / str(checkpointing), kind, **fields)
    spec = replace(ADAPTED_CAUSAL[name], checkpointing=checkpointing)
    return built_on(CausalModel(base, CPU), spec, causal_task())


def steps(built: Objective) -> tuple[Tensor, Tensor, int]:
    """Losses and gradients of two parameters, and the numbers that are kept for them."""
    points = torch.stack([somewhere(built), 0.5 * somewhere(built)])
    kept = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses, slopes = built.problem.gradients(points, torch.arange(6))
    return losses, slopes, kept


def check(plain: Objective, recomputing: Objective) -> None:
    losses, slopes, kept = steps(plain)
    same_losses, same_slopes, fewer = steps(recomputing)
    assert torch.equal(same_losses, losses)
    assert torch.equal(same_slopes, slopes)
    assert bool((slopes != 0).any(dim=(0, 1)).any())
    assert fewer < kept
    # Other passes than backward ones are as they were.
    point, direction, rows = somewhere(plain), torch.ones(plain.shape), torch.arange(6)
    expected = plain.problem.derivative(point, direction, rows)
    found = recomputing.problem.derivative(point, direction, rows)
    assert torch.equal(torch.stack(found), torch.stack(expected))


@pytest.mark.parametrize("kind", ["bert", pytest.param("roberta", marks=pytest.mark.campaign)])
@pytest.mark.parametrize("name", ON_ENCODERS)
def test_gradients_on_an_encoder_are_the_same(name: str, kind: str, tmp_path: Path) -> None:
    check(*(on_encoder(tmp_path, name, kind, recomputing) for recomputing in (False, True)))


@pytest.mark.parametrize(
    "kind",
    [
        "llama",
        *(pytest.param(kind, marks=pytest.mark.campaign) for kind in ("gpt2", "opt", "qwen2")),
    ],
)
@pytest.mark.parametrize("name", ADAPTED_CAUSAL)
def test_gradients_on_a_language_model_are_the_same(name: str, kind: str, tmp_path: Path) -> None:
    check(*(on_language_model(tmp_path, name, kind, recomputing) for recomputing in (False, True)))
