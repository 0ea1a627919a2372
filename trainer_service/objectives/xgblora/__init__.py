"""The objective ``xgblora``: a sum of rank-1 adapters, trained one after the other, of a frozen
encoder, with a linear head, or of a causal language model.

This module imports no torch; `problem` does.
"""

from __future__ import annotations

from mentorgrad.domain.objective import Xgblora
from trainer_service.objectives.adapters.checks import (
    check_adapted_model,
    check_numbers,
    costs,
    targeted,
)
from trainer_service.objectives.adapters.targets import layer_of
from trainer_service.objectives.kinds import CheckInputs, ObjectiveKind
from trainer_service.training_settings import proposes_settings


def check(spec: Xgblora, inputs: CheckInputs) -> None:
    """Checks the model, the named layers and the size of the parameter."""
    folder, _ = check_adapted_model(spec, inputs)
    if folder is None:
        return
    shapes = targeted(spec, folder, inputs)
    layers = len({layer_of(name) for name in shapes})
    if shapes and spec.layers > layers:
        inputs.findings.add(
            f"{inputs.path}.layers", f"must be at most {layers}, the layers to draw"
        )
    room = layers if proposes_settings(inputs.run.mentor) else min(spec.layers, layers)
    each = sum(map(sum, shapes.values())) * room // max(layers, 1)
    check_numbers(spec, spec.boosters * each, "boosters", folder, inputs)
    planned = inputs.run.stages.total_steps
    needed = (spec.boosters - 1) * spec.booster_steps
    if planned <= needed:
        inputs.warn(
            f"{planned} steps begin {-(-planned // spec.booster_steps)} of {spec.boosters} "
            f"boosters of {spec.booster_steps} steps each; the others stay without effect"
        )


KIND = ObjectiveKind(
    Xgblora,
    "trainer_service.objectives.xgblora.problem:build",
    costs,
    check,
    reopen="trainer_service.objectives.xgblora.problem:reopen",
    has_words=False,
    is_written=False,
    forward_row="a row through the encoder or the language model",
)
