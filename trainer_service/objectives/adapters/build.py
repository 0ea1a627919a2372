"""Builds and reopens the objectives that tune adapters, of an encoder or of a language model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from mentorgrad.domain.advice import TaskCard
from mentorgrad.schema import snake_case
from mentorgrad.settings_space import SettingsSpace
from trainer_service import tensorfile
from trainer_service.encoding.causal_model import CausalModel
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.objectives.adapters import on_encoder, on_language_model
from trainer_service.objectives.adapters.adapter import Adapter, Start
from trainer_service.objectives.adapters.language import AdapterLanguage
from trainer_service.objectives.adapters.language_model_inputs import AdapterSpec, model_of
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.model_file import as_metadata, document_bytes
from trainer_service.objectives.prompt_checks import require_peft
from trainer_service.objectives.torch_free import ARTIFACT, MODEL_FILE
from trainer_service.objectives.tuned import Tuned, TunedFiles, scores_at
from trainer_service.protocols import Objective
from trainer_service.training_settings import LEARNING_RATE

PARAMETERS = "parameters"
"""Name of the tensor in ``prompt.safetensors``."""

_PROPOSAL = (
    "an adapter, which gradient steps train and nobody writes; a proposal is settings of the steps "
    "from its present state on"
)

AdaptedModel = TextEncoder | CausalModel
"""A frozen model that takes an adapter."""


class AdaptedParts(Protocol):
    """What an objective has by the kind of its model."""

    problem: Any
    """The problem: an `AdaptedProblem` of classification."""

    def facts(self, parameters: Tensor) -> dict[str, Any]:
        """What ``model.json`` says of a parameter besides what all adapters have in it."""
        ...

    def files(self, parameters: Tensor) -> dict[str, bytes]:
        """Configuration and weights for `PeftModel.from_pretrained`, by file name."""
        ...


def adapted_model(spec: AdapterSpec, inputs: BuildInputs) -> AdaptedModel:
    """Loads the model that a spec names.

    Raises:
        InvalidInput: It cannot be used; the violation names the field.
    """
    model: AdaptedModel = (
        inputs.causal_model(spec.model, spec.dtype.value)
        if spec.model
        else inputs.encoder(spec.encoder, spec.dtype.value)
    )
    if spec.checkpointing:
        model.recompute_layers(f"{inputs.path}.checkpointing")
    return model


def build_adapter(
    spec: AdapterSpec,
    inputs: BuildInputs,
    model: AdaptedModel,
    adapter: Adapter,
    start: Start = lambda parts: None,
) -> Objective:
    """The objective of an adapter.

    Raises:
        InvalidInput: A text is too long, and that is an error; or the template or the labels
            cannot be used with this model.
        Unsupported: peft is not installed.
    """
    name, task = snake_case(type(spec).__name__), inputs.rows
    require_peft(name)
    parts: AdaptedParts
    if isinstance(model, TextEncoder):
        parts = on_encoder.OnEncoder(spec, inputs, model, adapter)
    else:
        parts = on_language_model.OnLanguageModel(spec, inputs, model, adapter)
    problem = parts.problem
    language = AdapterLanguage(
        problem.layout,
        problem.draw,
        lambda drawn: start(problem.layout.views(drawn)),
        inputs.device,
        SettingsSpace((LEARNING_RATE, *adapter.settings)),
    )

    def export(parameters: Tensor) -> dict[str, bytes]:
        """The parameter as safetensors, what is needed to rebuild the classifier, and a PEFT
        adapter."""
        (summary,) = language.project(parameters.unsqueeze(0))
        document = inputs.document(
            spec,
            model_of(spec),
            model.digest,
            problem,
            summary.text,
            layout=problem.layout.document,
            max_length=spec.max_length,
            **parts.facts(parameters),
        )
        return {
            ARTIFACT: tensorfile.save({PARAMETERS: parameters}, as_metadata(document)),
            MODEL_FILE: document_bytes(document),
            **parts.files(parameters),
        }

    card = TaskCard(
        objective=name,
        description=task.description,
        labels=task.labels,
        proposal=_PROPOSAL,
    )
    return Objective(problem, language, export, card)


def reopen_adapter(
    files: TunedFiles,
    inputs: BuildInputs,
    spec: AdapterSpec,
    adapter: Callable[[AdaptedModel], Adapter],
) -> Tuned:
    """Loads the model, to predict.

    Args:
        files: What the run left.
        inputs: Loads the model.
        spec: The run's objective.
        adapter: Makes the run's adapter for the model.

    Raises:
        InvalidInput: The model cannot be used.
        PreconditionFailed: It is not the one of the run.
    """
    scores = scores_at(files.tensors[PARAMETERS])
    if spec.model:
        causal = inputs.causal_model(files.model, files.document["dtype"])
        files.require_model(causal.digest)
        problem = on_language_model.reopened(files, inputs, spec, causal, adapter(causal))
        return Tuned(problem, scores, scores)
    encoder = inputs.encoder(files.model, spec.dtype.value)
    files.require_model(encoder.digest)
    return Tuned(
        on_encoder.reopened(files, inputs, spec, encoder, adapter(encoder)), scores, scores
    )
