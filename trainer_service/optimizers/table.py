"""The optimizers that a spec can name. Validation, builds, GetTrainerInfo and the reference are
made from this table. Imports no torch."""

from __future__ import annotations

from typing import cast

from mentorgrad.domain import spec as specs
from mentorgrad.errors import InvalidInput
from trainer_service.optimizers.kinds import OptimizerKind
from trainer_service.protocols import Optimizer
from trainer_service.registry import Registry, load

OPTIMIZERS: Registry[OptimizerKind] = Registry(
    OptimizerKind("adamw", "trainer_service.optimizers.first_order:AdamW.from_spec"),
    OptimizerKind("sgd", "trainer_service.optimizers.first_order:SGD.from_spec"),
)
"""By name."""


def optimizer_kind(spec: specs.Optimizer) -> OptimizerKind:
    """The entry that a spec names.

    Raises:
        InvalidInput: The name is unknown.
    """
    if spec.name not in OPTIMIZERS:
        raise InvalidInput.field("spec.optimizer.name", f"must be one of: {', '.join(OPTIMIZERS)}")
    return OPTIMIZERS[spec.name]


def build_optimizer(spec: specs.Optimizer) -> Optimizer:
    """Builds an optimizer without state.

    Raises:
        InvalidInput: The name is unknown.
    """
    return cast(Optimizer, load(optimizer_kind(spec).build)(spec))
