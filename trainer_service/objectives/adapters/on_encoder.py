"""Adapters of an encoder, with a linear head: what is built, left and reopened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from trainer_service.encoding.embedding_cache import EmbeddingCache
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.objectives.adapters.adapter import Adapter
from trainer_service.objectives.adapters.language_model_inputs import AdapterSpec
from trainer_service.objectives.adapters.layout import HEAD_BIAS, HEAD_WEIGHT
from trainer_service.objectives.adapters.problem import AdapterProblem
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.token_classifier_export import TokenClassifierExport
from trainer_service.objectives.tuned import TunedFiles
from trainer_service.tasks.data import TaskData


class OnEncoder:
    """An adapter of an encoder, for the rows of a run; see `AdaptedParts`."""

    def __init__(
        self, spec: AdapterSpec, inputs: BuildInputs, encoder: TextEncoder, adapter: Adapter
    ) -> None:
        task = inputs.rows
        self._spec, self._encoder, self._adapter = spec, encoder, adapter
        self.problem = AdapterProblem(
            spec,
            adapter,
            task,
            encoder,
            inputs.costs,
            inputs.cache,
            inputs.abort,
            inputs.run.task.long_texts,
        )
        classes = len(task.labels)
        self._exported = TokenClassifierExport(encoder.config, classes, adapter.peft_config)

    def facts(self, parameters: Tensor) -> dict[str, Any]:
        """See `AdaptedParts`."""
        return {
            "dtype": self._encoder.dtype,
            "readout": self._spec.readout.value,
            "template": "[start] text [end]",
            "adapter": self._exported.task_type,
        }

    def files(self, parameters: Tensor) -> dict[str, bytes]:
        """See `AdaptedParts`."""
        parts = self.problem.named(parameters)
        tensors = self._adapter.peft_tensors(parts)
        return self._exported.files(tensors, parts[HEAD_WEIGHT], parts[HEAD_BIAS])


def reopened(
    files: TunedFiles,
    inputs: BuildInputs,
    spec: AdapterSpec,
    encoder: TextEncoder,
    adapter: Adapter,
) -> Callable[[TaskData], AdapterProblem]:
    """Rows to predict → the run's problem on them."""

    def problem(task: TaskData) -> AdapterProblem:
        return AdapterProblem(
            spec,
            adapter,
            task,
            encoder,
            inputs.costs,
            EmbeddingCache(None),
            inputs.abort,
            files.long_texts,
        )

    return problem
