"""Adapters of small encoders: their files, and their logits as PEFT computes them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from mentorgrad.domain.objective import Readout
from tests.support import tiny_models
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.objectives.adapters.problem import AdapterProblem
from trainer_service.objectives.token_batches import TokenBatch, TokenRows
from trainer_service.protocols import Objective
from trainer_service.tasks.data import Row

ROWS = tuple(Row(text, 0) for text in tiny_models.TEXTS[::9])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def somewhere(built: Objective) -> Tensor:
    """A parameter far from the start."""
    start = built.language.initial(generator())
    return start + 0.3 * torch.randn(built.shape, generator=generator(1))


def written(folder: Path, built: Objective, point: Tensor) -> Path:
    """A folder with the files of a run."""
    folder.mkdir()
    for name, content in built.export(point).items():
        (folder / name).write_bytes(content)
    return folder


def problem_of(built: Objective) -> AdapterProblem:
    assert isinstance(built.problem, AdapterProblem)
    return built.problem


def batch_of(encoder: TextEncoder) -> TokenBatch:
    return TokenRows(ROWS, encoder, encoder.max_tokens - 8).take(torch.arange(len(ROWS)))


def logits_of(built: Objective, point: Tensor, encoder: TextEncoder) -> Tensor:
    """Logits of `ROWS` [rows, classes]."""
    return problem_of(built).batch_logits(point[None], batch_of(encoder))[0]


def peft_logits(folder: Path, base: Path, encoder: TextEncoder, readout: Readout) -> Tensor:
    """Logits of `ROWS` under the adapter, as PEFT computes them."""
    from peft import PeftModel
    from transformers import AutoModelForTokenClassification

    batch = batch_of(encoder)
    inputs = {"input_ids": batch.ids, "attention_mask": batch.mask}
    if batch.segments is not None:
        inputs["token_type_ids"] = batch.segments
    bare = AutoModelForTokenClassification.from_pretrained(base, num_labels=2)
    with torch.no_grad():
        found: Tensor = PeftModel.from_pretrained(bare, folder)(**inputs).logits
    if readout is not Readout.MEAN:
        return found[:, 0]
    weights = batch.mask.unsqueeze(-1)
    return (found * weights).sum(1) / weights.sum(1)
