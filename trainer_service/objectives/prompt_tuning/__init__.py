"""The objective ``prompt_tuning``: a soft prompt before every input, frozen encoder, linear head.

This module imports no torch; `problem` does.
"""

from __future__ import annotations

from mentorgrad.domain.objective import PromptTuning
from mentorgrad.schema import snake_case
from trainer_service.costs import RowCosts
from trainer_service.encoding.model_files import embedding_width, hidden_width, max_positions
from trainer_service.objectives.kinds import CheckInputs, ObjectiveKind
from trainer_service.objectives.prompt_checks import (
    check_encoder,
    check_initial_text,
    check_long_texts,
    check_size,
    check_unknown_tokens,
    require_peft,
)
from trainer_service.tasks.data import TaskData

LEAST_TEXT_TOKENS = 3
"""Minimum tokens that the soft prompt must leave for a text: start, end and one token."""


def prompt_tuning_length(objective: PromptTuning, encoder_limit: int) -> int:
    """Maximum input length in tokens, prompt and special tokens included."""
    return min(objective.max_length, encoder_limit)


def check(spec: PromptTuning, inputs: CheckInputs) -> None:
    """Checks that peft is there, the encoder, the prompt's length and the initial text."""
    check_prompt(spec, inputs, len(inputs.task.labels) if inputs.task else 1)


def check_prompt(spec: PromptTuning, inputs: CheckInputs, outputs: int) -> None:
    """`check`, of a head with so many outputs."""
    require_peft(snake_case(type(spec).__name__))
    folder, tokens = check_encoder(spec.encoder, inputs)
    if folder is None or tokens is None:
        return
    longest = prompt_tuning_length(spec, max_positions(folder))
    room = longest - spec.n_tokens
    if room < LEAST_TEXT_TOKENS:
        inputs.findings.add(
            f"{inputs.path}.n_tokens",
            f"leaves {room} of {longest} tokens for the text; at least {LEAST_TEXT_TOKENS} are "
            "needed",
            "PROMPT_TOO_LONG",
        )
    width = max(embedding_width(folder), hidden_width(folder), outputs)
    check_size((spec.n_tokens + outputs + 1) * width, inputs)
    check_initial_text(spec, tokens.count, inputs)
    if room >= LEAST_TEXT_TOKENS:
        paired = inputs.task is not None and inputs.task.is_paired
        check_long_texts(inputs, tokens.count, room - 2 - paired, exact=not paired)
    check_unknown_tokens(inputs, tokens)


def costs(spec: PromptTuning, task: TaskData | None) -> RowCosts:
    """A pass encodes each of its rows."""
    return RowCosts(per_row=1)


KIND = ObjectiveKind(
    PromptTuning,
    "trainer_service.objectives.prompt_tuning.build:build",
    costs,
    check,
    reopen="trainer_service.objectives.prompt_tuning.build:reopen",
    forward_row="a text that is encoded",
)
