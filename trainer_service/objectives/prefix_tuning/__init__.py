"""The objective ``prefix_tuning``: soft keys and values at every layer of a frozen encoder, with a
linear head, or of a causal language model.

This module imports no torch; `problem` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mentorgrad.domain.objective import PrefixTuning
from mentorgrad.errors import InvalidInput
from trainer_service.encoding.model_files import read_json
from trainer_service.encoding.weight_files import UNSUITABLE
from trainer_service.objectives.adapters.checks import check_adapted_model, check_numbers, costs
from trainer_service.objectives.adapters.language_model_inputs import model_of
from trainer_service.objectives.kinds import CheckInputs, ObjectiveKind
from trainer_service.objectives.peft_folder import PeftFolder, peft_folder
from trainer_service.objectives.prompt_checks import check_initial_text
from trainer_service.objectives.start_files import StartSources

ARCHITECTURES = ("bert", "roberta", "xlm-roberta", "electra", "camembert")
"""Architectures whose attention takes keys and values from outside, in transformers."""


def initial_folder(spec: PrefixTuning, sources: StartSources, path: str) -> PeftFolder | None:
    """The prefix that a spec starts from; None: one made of words.

    Raises:
        InvalidInput: It cannot be used.
    """
    field = f"{path}.initial_text"
    folder = peft_folder(spec.initial_text, ("PREFIX_TUNING",), model_of(spec), sources, field)
    if folder is not None:
        if folder.config.get("prefix_projection"):
            raise folder.refusal("uses prefix_projection, which prefix_tuning does not have")
        folder.require_room(folder.tokens, spec.n_tokens)
    return folder


def require_architecture(kind: str, field: str) -> None:
    """Checks that an encoder's attention takes keys and values from outside.

    Raises:
        InvalidInput: It does not.
    """
    if kind not in ARCHITECTURES:
        raise InvalidInput.field(
            field,
            f"{kind or 'this architecture'} takes no keys and values from outside; prefix_tuning "
            f"needs one of: {', '.join(ARCHITECTURES)}",
            reason=UNSUITABLE,
        )


def check(spec: PrefixTuning, inputs: CheckInputs) -> None:
    """Checks the model, the length of the prefix, its start and the size of the parameter."""
    folder, tokens = check_adapted_model(spec, inputs, beside=spec.n_tokens)
    if folder is None:
        return
    config = read_json(folder, "config.json")
    try:
        if not spec.model:
            require_architecture(str(config.get("model_type", "")), f"{inputs.path}.encoder")
        if initial_folder(spec, inputs.starts, inputs.path) is None and tokens is not None:
            check_initial_text(spec, tokens.count, inputs)
    except InvalidInput as error:
        inputs.findings.extend(error.violations, error.reason)
    numbers = spec.n_tokens * state_numbers(config)
    check_numbers(spec, numbers, "n_tokens", folder, inputs)


def state_numbers(config: Mapping[str, Any]) -> int:
    """Numbers of a token's keys and values in all layers, at most, by a model's configuration."""
    layers = int(config.get("num_hidden_layers") or config.get("n_layer") or 1)
    width = int(config.get("hidden_size") or config.get("n_embd") or config.get("dim") or 1)
    heads = int(config.get("num_attention_heads") or config.get("n_head") or 1)
    grouped = int(config.get("num_key_value_heads") or heads)
    return 2 * layers * grouped * int(config.get("head_dim") or width // heads)


KIND = ObjectiveKind(
    PrefixTuning,
    "trainer_service.objectives.prefix_tuning.problem:build",
    costs,
    check,
    reopen="trainer_service.objectives.prefix_tuning.problem:reopen",
    has_words=False,
    is_written=False,
    forward_row="a row through the encoder or the language model",
)
