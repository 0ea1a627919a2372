"""What the table of optimizers knows of each; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from mentorgrad.domain import spec as specs
from trainer_service.costs import FORWARD_BACKWARD

CMA_POPULATION = 20
"""Points per step of ``cma`` if the spec does not say how many: what CMA-ES takes by default in 256
dimensions, and what Black-Box Tuning takes."""


@dataclass(frozen=True)
class OptimizerKind:
    """An entry of the table of optimizers."""

    name: str
    """Name in specs."""
    build: str
    """``module:function``, imported in a worker: optimizer's spec → `Optimizer` without state."""
    passes: int = FORWARD_BACKWARD
    """Forward rows that one step takes at most per row of its batch, besides those of its
    directions: for each question to the oracle, `FORWARD` per point for losses or values,
    `FORWARD_MODE` for a derivative along a direction, `FORWARD_BACKWARD` for a gradient."""
    per_direction: int = 0
    """The same for each of the spec's `directions`."""
    directions: int = 1
    """Directions if the spec does not say how many."""
    least_directions: int = 1
    """Directions that a step needs."""
    needs_gradients: bool = True
    """Whether it asks for gradients or derivatives."""
    is_first_order: bool = True
    """Whether each step asks for just the gradient at the present point. The branches of a race
    then get theirs from one pass."""

    def directions_of(self, spec: specs.Optimizer) -> int:
        """Directions of one step, or points for an optimizer that has a population."""
        return self.directions if spec.directions is None else spec.directions

    def passes_of(self, spec: specs.Optimizer) -> int:
        """Forward rows that one step takes at most per row of its batch."""
        return self.passes + self.per_direction * self.directions_of(spec)
