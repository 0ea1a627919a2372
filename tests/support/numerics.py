"""The real encoder, loaded once a session, and objectives over it."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import torch

from mentorgrad.model import spec as specs
from mentorgrad.models import resolve
from trainer_service.embedding_cache import EmbeddingCache
from trainer_service.encoders import TextEncoder
from trainer_service.objectives.function import FunctionObjective
from trainer_service.objectives.label_prompt import LabelPromptObjective
from trainer_service.optimizers.build import build_optimizer
from trainer_service.protocols import Objective
from trainer_service.tasks.load import load_task

CPU = torch.device("cpu")


@functools.cache
def encoder() -> TextEncoder:
    torch.set_num_threads(1)
    return TextEncoder(resolve(specs.DEFAULT_ENCODER), CPU)


@functools.cache
def _cache_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="embeddings")


def tickets(seed: int = 0, **fields: object) -> LabelPromptObjective:
    """`label_prompt` on the whole built-in task."""
    return LabelPromptObjective(
        specs.LabelPrompt(**fields),  # type: ignore[arg-type]
        load_task(specs.Task(), seed, ()),
        encoder(),
        EmbeddingCache(Path(_cache_folder().name)),
    )


@functools.cache
def objective(name: str) -> Objective:
    """An objective by name, made once: tests must not change it."""
    if name == "label_prompt":
        return tickets()
    if name == "label_prompt_per_class":
        return tickets(per_class=True, n_tokens=3)
    return FunctionObjective(specs.Function(name=name, dimensions=3), CPU)


def tune(built: Objective, optimizer: specs.Optimizer, steps: int, seed: int) -> list[torch.Tensor]:
    """Plain tuning: the parameters before the first step and after each."""
    generator = torch.Generator().manual_seed(seed)
    parameters = built.initial(generator).requires_grad_(True)
    stepper = build_optimizer(optimizer)
    trajectory = [parameters.detach().clone()]
    for _ in range(steps):
        rows = torch.randint(built.train_rows, (optimizer.batch_size,), generator=generator)
        stepper.step(parameters, built.train_loss(parameters, rows), optimizer.learning_rate)
        trajectory.append(parameters.detach().clone())
    return trajectory
