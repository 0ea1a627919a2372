"""What the table of optimizers knows of each; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from trainer_service.costs import FORWARD_BACKWARD


@dataclass(frozen=True)
class OptimizerKind:
    """An entry of the table of optimizers."""

    name: str
    """Name in specs."""
    build: str
    """``module:function``, imported in a worker: optimizer's spec → `Optimizer` without state."""
    passes: int = FORWARD_BACKWARD
    """Forward rows that one step takes at most per row of its batch: for each question to the
    oracle, `FORWARD` per point for losses, `FORWARD_MODE` for a derivative along a direction,
    `FORWARD_BACKWARD` for a gradient."""
    needs_gradients: bool = True
    """Whether it asks for gradients or derivatives."""
    is_first_order: bool = True
    """Whether each step asks for just the gradient at the present point. The branches of a race
    then get theirs from one pass."""
