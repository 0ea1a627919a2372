"""Builds the objective of a run from its spec."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from mentorgrad.domain.spec import External, Function, LabelPrompt, RunSpec
from mentorgrad.errors import InvalidInput, MentorgradError, Violation
from mentorgrad.model_refs import resolve
from mentorgrad.schema import snake_case
from trainer_service.objectives.function import FunctionObjective
from trainer_service.objectives.torch_free import not_executed
from trainer_service.protocols import Objective
from trainer_service.tasks.load import load_task


def build_objective(
    spec: RunSpec,
    *,
    device: torch.device,
    check: Callable[[], None] = lambda: None,
    data_roots: Sequence[Path] = (),
    model_roots: Sequence[Path] | None = (),
    cache_dir: Path | None = None,
) -> Objective:
    """Builds the objective of a run; reads its data and loads its encoder.

    Args:
        spec: The run.
        device: Device of the parameters.
        check: Called between batches; may raise to abort.
        data_roots: Folders that data files may be read from.
        model_roots: Folders that models named by a path must be in; None: any folder.
        cache_dir: Cache folder of text embeddings; None: no caching.

    Raises:
        InvalidInput: The task or model cannot be used; violations name the fields.
        Unsupported: A required package is not installed.
    """
    objective = spec.objective
    if isinstance(objective, Function):
        return FunctionObjective(objective, device)
    if isinstance(objective, External):
        raise not_executed()
    # transformers takes seconds to import, and `function` does not need it.
    from trainer_service.encoding.embedding_cache import EmbeddingCache
    from trainer_service.encoding.encoders import TextEncoder
    from trainer_service.objectives.label_prompt import LabelPromptObjective
    from trainer_service.objectives.prompt_tuning import PromptTuningObjective

    task = load_task(spec.task, spec.seed, data_roots)
    try:
        encoder = TextEncoder(resolve(objective.encoder, roots=model_roots), device, check)
    except MentorgradError as error:
        path = f"spec.objective.{snake_case(type(objective).__name__)}.encoder"
        raise InvalidInput(
            violations=[Violation(path, error.message)], reason=error.reason
        ) from error
    if isinstance(objective, LabelPrompt):
        return LabelPromptObjective(objective, task, encoder, EmbeddingCache(cache_dir))
    return PromptTuningObjective(objective, task, encoder, check)
