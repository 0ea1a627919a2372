"""Gradient steps of `prompt_tuning` on texts of a given length, for the benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mentorgrad.domain.objective import PromptTuning
from trainer_service.costs import RowCosts
from trainer_service.encoding.embedding_cache import EmbeddingCache
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.objectives.prompt_tuning.problem import PromptTuningProblem
from trainer_service.tasks.data import Row, TaskData


@dataclass(frozen=True)
class Shape:
    """The size of a step."""

    rows: int = 32
    """Train rows."""
    text_tokens: int = 25
    """Tokens of each text, with start and end: the mean of sst2."""
    prompt_tokens: int = 8
    """Length of the prompt."""
    labels: int = 2
    """Classes."""


def step(encoder: TextEncoder, shape: Shape) -> Callable[[], tuple[Tensor, Tensor]]:
    """A function that computes losses and gradients of one step."""
    text = " ".join(["film"] * (shape.text_tokens - 2))
    rows = tuple(Row(text, index % shape.labels) for index in range(shape.rows))
    task = TaskData("same", "", tuple(map(str, range(shape.labels))), rows, rows, ())
    spec = PromptTuning(n_tokens=shape.prompt_tokens, max_length=512)
    problem = PromptTuningProblem(spec, task, encoder, RowCosts(), EmbeddingCache(None))
    assert set(problem.train_lengths) == {shape.text_tokens}
    made = torch.Generator().manual_seed(0)
    point = 0.05 * torch.randn(1, *problem.shape, generator=made)
    chosen = torch.arange(shape.rows)
    return lambda: problem.gradients(point, chosen)
