"""Builds the objective ``causal_prompt`` from its spec."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mentorgrad.domain.advice import TaskCard
from mentorgrad.domain.spec import CausalPrompt, PromptPosition
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.causal_prompt import PATH
from trainer_service.objectives.causal_prompt.export import CausalExport
from trainer_service.objectives.causal_prompt.inputs import read_inputs
from trainer_service.objectives.causal_prompt.problem import CausalPromptProblem
from trainer_service.objectives.demonstrations import set_apart
from trainer_service.objectives.prompt_language import PromptLanguage
from trainer_service.protocols import Objective, RandomWords


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
        spec, task, model, parts, inputs.costs, inputs.state_bytes, inputs.abort, inputs.known
    )

    def meanings(texts: Sequence[str]) -> Tensor:
        """The mean word vector of each text, of norm 1."""
        ids = [tokens.token_ids(text) or [tokens.filler_id] for text in texts]
        means = [tokens.vectors[row].mean(0) for row in ids]
        return functional.normalize(torch.stack(means), dim=-1)

    language = PromptLanguage(
        spec,
        tokens,
        problem.shape,
        meanings,
        PATH,
        task,
        # A vocabulary that holds other scripts and code would make a weak control.
        random_words=RandomWords.TRAIN_TEXTS,
    )
    place = (
        "between the text and the answer"
        if spec.position is PromptPosition.AFTER_TEXT
        else "in front of the text"
    )
    card = TaskCard(
        objective="causal_prompt",
        description=task.description,
        labels=task.labels,
        proposal=f"a line that stands {place} in the input of a language model, which then answers "
        "with one of the labels",
        place=place,
    )
    revision = inputs.revision(spec.model)
    export = CausalExport(spec, inputs.run, model, parts, problem, language, revision)
    return Objective(problem, language, export, card)
