"""Builds an optimizer from a spec."""

from __future__ import annotations

from mentorgrad.domain import spec as specs
from mentorgrad.errors import InvalidInput
from trainer_service.optimizers import OPTIMIZERS
from trainer_service.optimizers.first_order import SGD, AdamW
from trainer_service.protocols import Optimizer


def build_optimizer(spec: specs.Optimizer) -> Optimizer:
    """Builds an optimizer without state.

    Raises:
        InvalidInput: The name is unknown.
    """
    if spec.name == "adamw":
        return AdamW(spec.weight_decay, spec.clip_norm)
    if spec.name == "sgd":
        return SGD(spec.momentum, spec.weight_decay, spec.clip_norm)
    raise InvalidInput.field("spec.optimizer.name", f"must be one of: {', '.join(OPTIMIZERS)}")
