"""Builds the objective ``causal_prompt`` from its spec."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mentorgrad.domain.advice import TaskCard
from mentorgrad.domain.objective import CausalPrompt
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.causal_prompt import PATH
from trainer_service.objectives.causal_prompt.export import CausalExport
from trainer_service.objectives.causal_prompt.inputs import inputs_of, read_inputs
from trainer_service.objectives.causal_prompt.problem import CausalPromptProblem
from trainer_service.objectives.demonstrations import set_apart
from trainer_service.objectives.initial_prompt import initial_prompt
from trainer_service.objectives.input_template import LABEL, Template
from trainer_service.objectives.prompt_language import PromptLanguage
from trainer_service.objectives.tuned import Tuned, TunedFiles, scores_at
from trainer_service.protocols import Objective, RandomWords
from trainer_service.tasks.data import Split, TaskData


def build(spec: CausalPrompt, inputs: BuildInputs) -> Objective:
    """Loads the model and computes the keys and values of the texts.

    Raises:
        InvalidInput: The model, the template, the labels or a text cannot be used.
    """
    demonstrations, task = set_apart(inputs.rows, spec.demonstrations, inputs.run.seed)
    model = inputs.causal_model(spec.model, spec.dtype.value)
    tokens = model.tokens
    parts = read_inputs(spec, task, demonstrations, model.tokenizer, tokens, model.max_tokens)
    problem = CausalPromptProblem(
        spec,
        task,
        model,
        parts,
        inputs.costs,
        inputs.state_bytes,
        inputs.abort,
        inputs.known,
        inputs.run.task.long_texts,
    )

    def meanings(texts: Sequence[str]) -> Tensor:
        """The mean word vector of each text, of norm 1."""
        ids = [tokens.token_ids(text) or [tokens.filler_id] for text in texts]
        means = [tokens.vectors[row].mean(0) for row in ids]
        return functional.normalize(torch.stack(means), dim=-1)

    initial = initial_prompt(spec, inputs, model.digest, problem.shape)
    language = PromptLanguage(
        spec,
        tokens,
        problem.shape,
        meanings,
        PATH,
        task,
        # A vocabulary that holds other scripts and code would make a weak control.
        random_words=RandomWords.TRAIN_TEXTS,
        default_start=parts.template.start,
        start=initial and initial[1],
    )
    place = parts.template.place
    card = TaskCard(
        objective="causal_prompt",
        description=task.description,
        labels=task.labels,
        proposal=f"a line that stands {place.replace(LABEL, 'the answer')} in the input of a "
        "language model, which then answers with one of the labels",
        place=place,
    )
    revision = inputs.revision(spec.model)
    export = CausalExport(spec, inputs.run, model, parts, problem, language, revision)
    return Objective(problem, language, export, card)


def reopen(files: TunedFiles, inputs: BuildInputs) -> Tuned:
    """Loads the model, to predict: in the dtype of the run, with the template as it was used.

    Raises:
        InvalidInput: The model cannot be used.
        PreconditionFailed: It is not the one of the run, or the labels have other tokens by now.
    """
    spec, document = files.spec(CausalPrompt), files.document
    model = inputs.causal_model(files.model, document["dtype"])
    files.require_model(model.digest)
    template = Template(**document["template_parts"])
    parts = inputs_of(
        spec, template, document["labels"], model.tokenizer, model.tokens, model.max_tokens
    )
    parts.require_label_tokens(document["label_tokens"])

    def problem(task: TaskData) -> CausalPromptProblem:
        return CausalPromptProblem(
            *(spec, task, model, parts, inputs.costs),
            state_bytes=None,
            check=inputs.abort,
            known=inputs.known,
            long_texts=files.long_texts,
        )

    def words(problem: CausalPromptProblem) -> Tensor:
        return problem.words_log_probs(document["text"], Split.TEST)

    return Tuned(problem, scores_at(files.tensors["prompt"]), words)
