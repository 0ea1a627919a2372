"""What takes the gradient steps. This package's `__init__` imports no torch."""

from __future__ import annotations

OPTIMIZERS: tuple[str, ...] = ("adamw", "sgd")
"""Names that `trainer_service.optimizers.build` knows."""
