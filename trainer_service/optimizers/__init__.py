"""The optimizers, which take the gradient steps. This `__init__` imports no torch."""

from __future__ import annotations

OPTIMIZERS: tuple[str, ...] = ("adamw", "sgd")
"""Names that `trainer_service.optimizers.build` knows."""
