"""Optimizers. This `__init__` imports no torch."""

from __future__ import annotations

OPTIMIZERS: tuple[str, ...] = ("adamw", "sgd")
"""Optimizer names that `trainer_service.optimizers.build` supports."""
