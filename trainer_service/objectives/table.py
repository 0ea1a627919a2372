"""The objectives that a trainer executes. Validation, builds, GetTrainerInfo and the reference are
made from this table. Imports no torch."""

from __future__ import annotations

from typing import Any

from mentorgrad.errors import InvalidInput
from mentorgrad.schema import snake_case
from trainer_service.objectives import (
    causal_prompt,
    function,
    label_prompt,
    lora,
    multiple_choice,
    prefix_tuning,
    prompt_tuning,
    served_prompt,
    xgblora,
)
from trainer_service.objectives.kinds import ObjectiveKind
from trainer_service.registry import Registry

OBJECTIVES: Registry[ObjectiveKind] = Registry(
    label_prompt.KIND,
    prompt_tuning.KIND,
    multiple_choice.KIND,
    prefix_tuning.KIND,
    lora.KIND,
    xgblora.KIND,
    causal_prompt.KIND,
    served_prompt.KIND,
    function.KIND,
)
"""By name."""


def find_kind(objective: Any) -> ObjectiveKind | None:
    """The entry of a spec's objective; None: the trainer does not execute it."""
    return OBJECTIVES.get(snake_case(type(objective).__name__))


def kind_of(objective: Any) -> ObjectiveKind:
    """The entry of a spec's objective.

    Raises:
        InvalidInput: The trainer does not execute this objective, such as ``external``.
    """
    kind = find_kind(objective)
    if kind is None:
        name = snake_case(type(objective).__name__)
        raise InvalidInput.field(
            f"spec.objective.{name}",
            f"the trainer does not execute {name} runs; import the log that your program recorded, "
            "or choose another objective",
            reason="EXECUTED_ELSEWHERE",
        )
    return kind
