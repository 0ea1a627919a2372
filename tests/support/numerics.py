"""The real encoder, loaded once a session, and objectives over it."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import pytest
import torch

from mentorgrad.domain import spec as specs
from mentorgrad.model_refs import resolve
from trainer_service.encoding.embedding_cache import EmbeddingCache
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.objectives.function import FunctionObjective
from trainer_service.objectives.label_prompt import LabelPromptObjective
from trainer_service.objectives.prompt_tuning import PromptTuningObjective
from trainer_service.optimizers.build import build_optimizer
from trainer_service.protocols import Objective
from trainer_service.settings import TrainerSettings
from trainer_service.tasks.data import Row, TaskData
from trainer_service.tasks.load import load_task

CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)

ON_CUDA = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA device"),
]
"""Marks of tests that need one."""
DEVICES = [pytest.param(CPU, id="cpu"), pytest.param(CUDA, id="cuda", marks=ON_CUDA)]
"""Parameters of tests that hold on every device."""


@functools.cache
def encoder(device: torch.device = CPU) -> TextEncoder:
    torch.set_num_threads(1)
    return TextEncoder(resolve(specs.DEFAULT_ENCODER), device)


def tickets(seed: int = 0, device: torch.device = CPU, **fields: object) -> LabelPromptObjective:
    """`label_prompt` on the whole built-in task."""
    return LabelPromptObjective(
        specs.LabelPrompt(**fields),  # type: ignore[arg-type]
        load_task(specs.Task(), seed, ()),
        encoder(device),
        EmbeddingCache(TrainerSettings().cache_dir),
    )


@functools.cache
def objective(name: str, device: torch.device = CPU) -> Objective:
    """An objective by name, made once: tests must not change it."""
    if name == "label_prompt":
        return tickets(device=device)
    if name == "label_prompt_per_class":
        return tickets(device=device, per_class=True, n_tokens=3)
    if name.startswith("prompt_tuning"):
        readout = specs.Readout(name.removeprefix("prompt_tuning").strip("_") or "cls")
        return tiny(device=device, readout=readout)
    return FunctionObjective(specs.Function(name=name, dimensions=3), device)


@functools.cache
def tiny_encoder(kind: str, device: torch.device = CPU) -> TextEncoder:
    """A random encoder of one of the architectures in `tiny_models`."""
    from tests.support import tiny_models

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="tiny") as folder:
        return TextEncoder(tiny_models.make(Path(folder), kind), device)


def tiny_task() -> TaskData:
    """Two classes told apart by a word, in 96 different texts."""
    from tests.support.tiny_models import TEXTS

    rows = tuple(Row(text, int("good" in text or "bad" in text)) for text in TEXTS)
    return TaskData(
        "tiny", "what it is about", ("other", "worth"), rows[::2], rows[1::4], rows[3::4]
    )


def tiny(kind: str = "bert", device: torch.device = CPU, **fields: object) -> PromptTuningObjective:
    """`prompt_tuning` on a random encoder."""
    spec = specs.PromptTuning(**({"n_tokens": 3} | fields))  # type: ignore[arg-type]
    return PromptTuningObjective(spec, tiny_task(), tiny_encoder(kind, device))


def tune(built: Objective, optimizer: specs.Optimizer, steps: int, seed: int) -> list[torch.Tensor]:
    """Plain tuning: the parameters before the first step and after each."""
    generator = torch.Generator().manual_seed(seed)
    parameters = built.initial(generator)
    stepper = build_optimizer(optimizer)
    trajectory = [parameters.clone()]
    for _ in range(steps):
        rows = torch.randint(built.train_rows, (optimizer.batch_size,), generator=generator)
        _, (gradient,) = built.gradients(parameters[None], rows)
        stepper.step(parameters, gradient, optimizer.learning_rate)
        trajectory.append(parameters.clone())
    return trajectory
