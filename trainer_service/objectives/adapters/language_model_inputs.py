"""The inputs of a language model with an adapter, as those of `causal_prompt`. Imports no torch."""

from __future__ import annotations

from mentorgrad.domain.objective import CausalPrompt, Lora, PrefixTuning, PromptPosition, Xgblora
from mentorgrad.errors import InvalidInput
from trainer_service.objectives.input_template import PROMPT, default_template

AdapterSpec = Lora | PrefixTuning | Xgblora


def model_of(spec: AdapterSpec) -> str:
    """Reference of the adapted model: a language model, or else the encoder."""
    return spec.model or spec.encoder


def as_prompt(spec: AdapterSpec, paired: bool, path: str) -> CausalPrompt:
    """The objective whose inputs the adapted language model gets: a prompt in front of the text,
    as long as what the adapter adds to each row. It is no part of the inputs themselves.

    Args:
        spec: The objective.
        paired: Whether the rows have a second text.
        path: Path of the objective's fields in the request.

    Raises:
        InvalidInput: The template has a place for a prompt.
    """
    if PROMPT in spec.template:
        wrong = f"must not contain {PROMPT}: an adapter is no part of the input"
        raise InvalidInput.field(f"{path}.template", wrong)
    position = PromptPosition.BEFORE_TEXT
    default = default_template(position, paired).removeprefix(f"{PROMPT}\n")
    return CausalPrompt(
        model=spec.model,
        n_tokens=spec.n_tokens if isinstance(spec, PrefixTuning) else 0,
        position=position,
        template=PROMPT + (spec.template or default),
        calibration=spec.calibration,
        dtype=spec.dtype,
        max_length=spec.max_length,
    )
