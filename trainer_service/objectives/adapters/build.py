"""Builds and reopens the objectives that tune adapters."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from mentorgrad.domain.advice import TaskCard
from mentorgrad.schema import snake_case
from mentorgrad.settings_space import SettingsSpace
from trainer_service import tensorfile
from trainer_service.encoding.embedding_cache import EmbeddingCache
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.objectives.adapters.adapter import Adapter, AdapterSpec, Start
from trainer_service.objectives.adapters.language import AdapterLanguage
from trainer_service.objectives.adapters.layout import HEAD_BIAS, HEAD_WEIGHT
from trainer_service.objectives.adapters.problem import AdapterProblem
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.model_file import as_metadata, document_bytes, model_document
from trainer_service.objectives.prompt_checks import require_peft
from trainer_service.objectives.token_classifier_export import TokenClassifierExport
from trainer_service.objectives.torch_free import ARTIFACT, MODEL_FILE
from trainer_service.objectives.tuned import Tuned, TunedFiles, scores_at
from trainer_service.protocols import Objective
from trainer_service.tasks.data import TaskData
from trainer_service.training_settings import LEARNING_RATE

PARAMETERS = "parameters"
"""Name of the tensor in ``prompt.safetensors``."""

_PROPOSAL = (
    "an adapter, which gradient steps train and nobody writes; a proposal is settings of the steps "
    "from its present state on"
)


def build_adapter(
    spec: AdapterSpec,
    inputs: BuildInputs,
    encoder: TextEncoder,
    adapter: Adapter,
    start: Start = lambda parts: None,
) -> Objective:
    """The objective of an adapter.

    Raises:
        InvalidInput: A text is too long, and that is an error.
        Unsupported: peft is not installed.
    """
    name, task = snake_case(type(spec).__name__), inputs.rows
    require_peft(name)
    problem = AdapterProblem(
        spec,
        adapter,
        task,
        encoder,
        inputs.costs,
        inputs.cache,
        inputs.abort,
        inputs.run.task.long_texts,
    )
    exported = TokenClassifierExport(encoder.config, len(task.labels), adapter.peft_config)
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
        document = model_document(
            spec,
            inputs.run,
            task,
            model=spec.encoder,
            model_sha256=encoder.digest,
            model_revision=inputs.revision(spec.encoder),
            device=inputs.device.type,
            cut_texts=problem.cut_texts,
            text=summary.text,
            layout=problem.layout.document,
            readout=spec.readout.value,
            max_length=spec.max_length,
            template="[start] text [end]",
            adapter=exported.task_type,
        )
        parts = problem.named(parameters)
        head = parts[HEAD_WEIGHT], parts[HEAD_BIAS]
        return {
            ARTIFACT: tensorfile.save({PARAMETERS: parameters}, as_metadata(document)),
            MODEL_FILE: document_bytes(document),
            **exported.files(adapter.peft_tensors(parts), *head),
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
    adapter: Callable[[TextEncoder], Adapter],
) -> Tuned:
    """Loads the encoder, to predict.

    Args:
        files: What the run left.
        inputs: Loads the encoder.
        spec: The run's objective.
        adapter: Makes the run's adapter for the encoder.

    Raises:
        InvalidInput: The encoder cannot be used.
        PreconditionFailed: It is not the one of the run.
    """
    encoder = inputs.encoder(files.model)
    files.require_model(encoder.digest)
    made, scores = adapter(encoder), scores_at(files.tensors[PARAMETERS])

    def problem(task: TaskData) -> AdapterProblem:
        return AdapterProblem(
            spec,
            made,
            task,
            encoder,
            inputs.costs,
            EmbeddingCache(None),
            inputs.abort,
            files.long_texts,
        )

    return Tuned(problem, scores, scores)
