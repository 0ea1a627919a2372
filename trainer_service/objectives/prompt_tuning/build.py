"""Builds and reopens `prompt_tuning`."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from mentorgrad.domain.advice import TaskCard
from mentorgrad.domain.objective import PromptTuning
from mentorgrad.schema import snake_case
from trainer_service import tensorfile
from trainer_service.encoding.embedding_cache import EmbeddingCache
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.initial_prompt import initial_prompt
from trainer_service.objectives.model_file import as_metadata, document_bytes
from trainer_service.objectives.peft_tensors import head_of
from trainer_service.objectives.prompt_language import PromptLanguage
from trainer_service.objectives.prompt_tuning.peft_export import PeftExport
from trainer_service.objectives.prompt_tuning.problem import Pieces, PromptTuningProblem
from trainer_service.objectives.torch_free import ARTIFACT, MODEL_FILE
from trainer_service.objectives.tuned import Scores, Tuned, TunedFiles, scores_at
from trainer_service.protocols import Objective
from trainer_service.tasks.data import TaskData


def build(
    spec: PromptTuning,
    inputs: BuildInputs,
    kind: type[PromptTuningProblem] = PromptTuningProblem,
) -> Objective:
    """Loads the encoder and tokenises the texts of the rows.

    Raises:
        InvalidInput: The encoder cannot be used, the prompt is too long for it, or `initial_text`
            is invalid.
        Unsupported: peft is not installed.
    """
    encoder = inputs.encoder(spec.encoder, spec.dtype.value)
    if spec.checkpointing:
        encoder.recompute_layers(f"{inputs.path}.checkpointing")
    task = inputs.rows
    adapter = PeftExport(encoder.config, spec.n_tokens, kind.outputs(task), spec.encoder)
    problem = kind(
        spec,
        task,
        encoder,
        inputs.costs,
        inputs.cache,
        inputs.abort,
        inputs.run.task.long_texts,
    )
    room = spec.n_tokens, encoder.tokens.width
    initial = initial_prompt(spec, inputs, encoder.digest, room)
    language = PromptLanguage(
        spec,
        encoder.tokens,
        problem.shape,
        encoder.encode,
        inputs.path,
        task,
        partial(problem.fill_head, given=initial and head_of(initial[0], task.labels)),
        start=initial and initial[1],
    )

    def export(parameters: Tensor) -> dict[str, bytes]:
        """Prompt and head as safetensors, what is needed to rebuild the classifier, and a PEFT
        adapter."""
        (words,) = language.project(parameters.unsqueeze(0))
        prompt, weight, bias = problem.pieces(parameters.detach())
        document = inputs.document(
            spec,
            spec.encoder,
            encoder.digest,
            problem,
            words.text,
            dtype=encoder.dtype,
            text_tokens=list(words.ids),
            readout=spec.readout.value,
            max_length=spec.max_length,
            template=problem.template,
            adapter=adapter.task_type,
        )
        tensors = {"prompt": prompt, "head.weight": weight, "head.bias": bias}
        return {
            ARTIFACT: tensorfile.save(tensors, as_metadata(document)),
            MODEL_FILE: document_bytes(document),
            **adapter.files(prompt, weight, bias),
        }

    card = TaskCard(
        objective=snake_case(type(spec).__name__),
        description=task.description,
        labels=task.labels,
        proposal=problem.proposal,
        place="in front of every text",
    )
    return Objective(problem, language, export, card)


def reopen(
    files: TunedFiles,
    inputs: BuildInputs,
    kind: type[PromptTuningProblem] = PromptTuningProblem,
    of: type[PromptTuning] = PromptTuning,
) -> Tuned:
    """Loads the encoder, to predict.

    Raises:
        InvalidInput: The encoder cannot be used.
        PreconditionFailed: It is not the one of the run.
    """
    spec = files.spec(of)
    encoder = inputs.encoder(files.model, spec.dtype.value)
    files.require_model(encoder.digest)
    pieces = Pieces(*(files.tensors[name] for name in ("prompt", "head.weight", "head.bias")))
    words = encoder.tokens.vectors[files.document["text_tokens"]].view_as(pieces.prompt)

    def problem(task: TaskData) -> PromptTuningProblem:
        uncached = EmbeddingCache(None)
        return kind(spec, task, encoder, inputs.costs, uncached, inputs.abort, files.long_texts)

    def scores(pieces: Pieces) -> Scores:
        return lambda problem: scores_at(problem.joined(pieces))(problem)

    return Tuned(problem, scores(pieces), scores(pieces._replace(prompt=words)))
