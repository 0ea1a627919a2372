"""The optimizers that a spec can name. Validation, builds, GetTrainerInfo and the reference are
made from this table. Imports no torch."""

from __future__ import annotations

from typing import cast

from mentorgrad.domain import spec as specs
from mentorgrad.errors import InvalidInput
from trainer_service.costs import FORWARD, FORWARD_MODE
from trainer_service.optimizers.kinds import CMA_POPULATION, OptimizerKind
from trainer_service.protocols import Optimizer
from trainer_service.registry import Registry, load


def _without_gradients(name: str, build: str, passes: int = 0, **costs: int) -> OptimizerKind:
    """An optimizer that asks for values alone."""
    path = f"trainer_service.optimizers.{build}"
    return OptimizerKind(name, path, passes, needs_gradients=False, is_first_order=False, **costs)


OPTIMIZERS: Registry[OptimizerKind] = Registry(
    OptimizerKind("adamw", "trainer_service.optimizers.first_order:AdamW.from_spec"),
    OptimizerKind("sgd", "trainer_service.optimizers.first_order:SGD.from_spec"),
    _without_gradients("zo_sgd", "zeroth_order:zo_sgd", per_direction=2 * FORWARD),
    _without_gradients("zo_sign", "zeroth_order:zo_sign", per_direction=2 * FORWARD),
    _without_gradients("zo_adam", "zeroth_order:zo_adam", per_direction=2 * FORWARD),
    _without_gradients(
        "zo_conservative",
        "zeroth_order:zo_conservative",
        passes=3 * FORWARD,
        per_direction=2 * FORWARD,
    ),
    OptimizerKind(
        "forward_grad",
        "trainer_service.optimizers.zeroth_order:forward_grad",
        passes=0,
        per_direction=FORWARD_MODE,
        is_first_order=False,
    ),
    _without_gradients(
        "cma",
        "cma:Cma.from_spec",
        per_direction=FORWARD,
        directions=CMA_POPULATION,
        least_directions=4,  # with fewer, the covariance learns from a single point
    ),
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
