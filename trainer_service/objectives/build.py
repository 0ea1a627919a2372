"""From the spec to an objective."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from mentorgrad.errors import InvalidInput, MentorgradError, Violation
from mentorgrad.model.spec import Function, LabelPrompt, RunSpec
from mentorgrad.models import resolve
from trainer_service.objectives.function import FunctionObjective
from trainer_service.protocols import Objective
from trainer_service.tasks.load import load_task


def build_objective(
    spec: RunSpec,
    *,
    device: torch.device,
    data_roots: Sequence[Path] = (),
    model_roots: Sequence[Path] | None = (),
    cache_dir: Path | None = None,
) -> Objective:
    """The objective of a run, with its data read and its texts encoded.

    Args:
        spec: The run.
        device: Where the parameters live.
        data_roots: Folders that data files must lie in.
        model_roots: Folders that models named by a path must lie in; None: anywhere.
        cache_dir: Where embeddings are kept; None: nowhere.

    Raises:
        InvalidInput: The task or model cannot be used; violations name the fields.
        Unsupported: It needs something that is not installed.
    """
    if isinstance(spec.objective, Function):
        return FunctionObjective(spec.objective, device)
    return _label_prompt(spec, spec.objective, device, data_roots, model_roots, cache_dir)


def _label_prompt(
    spec: RunSpec,
    objective: LabelPrompt,
    device: torch.device,
    data_roots: Sequence[Path],
    model_roots: Sequence[Path] | None,
    cache_dir: Path | None,
) -> Objective:
    # transformers takes seconds to import, which `function` can do without.
    from trainer_service.embedding_cache import EmbeddingCache
    from trainer_service.encoders import TextEncoder
    from trainer_service.objectives.label_prompt import LabelPromptObjective

    task = load_task(spec.task, spec.seed, data_roots)
    try:
        encoder = TextEncoder(resolve(objective.encoder, roots=model_roots), device)
    except MentorgradError as error:
        path = "spec.objective.label_prompt.encoder"
        raise InvalidInput(
            violations=[Violation(path, error.message)], reason=error.reason
        ) from error
    return LabelPromptObjective(objective, task, encoder, EmbeddingCache(cache_dir))
