"""What is put into a frozen model: the part in which these objectives differ."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mentorgrad.settings_space import Setting
from trainer_service.objectives.adapters.layout import HEAD_BIAS, HEAD_WEIGHT
from trainer_service.training_settings import TrainingSettings

Pass = Callable[[Any], Tensor]
"""Passes rows through a frozen model, each of them once per adapter: a cache of transformers with
what stands in front of each input, or None → hidden states [k * rows, ...], those of the first
adapter first; differentiable."""

Start = Callable[[Mapping[str, Tensor]], None]
"""Puts what a spec starts from into the tensors of a drawn parameter, in place."""


class Adapter(ABC):
    """Base of the adapters. A subclass sets the attributes."""

    shapes: Mapping[str, tuple[int, ...]]
    """Shapes of its tensors by name."""
    unit: float
    """Root mean square of the numbers that it starts with; see `Problem.unit`."""
    beside: int = 0
    """Tokens that it adds to each row."""
    settings: tuple[Setting, ...] = ()
    """Settings that change what steps train."""
    peft_lead: str = ""
    """What PEFT puts in front of the names of its tensors, for a whole model of transformers."""

    @abstractmethod
    def hidden(self, parts: Mapping[str, Tensor], rows: int, run: Pass) -> Tensor:
        """Tensors [k, *shape] by name, the number of rows, a pass over these → its hidden states
        with the adapters; differentiable."""

    @abstractmethod
    def draw(self, parts: Mapping[str, Tensor], generator: torch.Generator) -> None:
        """Draws the tensors of a new parameter, which are 0, in place; on the CPU."""

    @abstractmethod
    def peft_config(self, task_type: str) -> Any:
        """A new PEFT configuration."""

    @abstractmethod
    def peft_tensors(self, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of one adapter as PEFT has them: by the ends of PEFT's names."""

    def turn(self, step: int) -> int:
        """The number of what is trained in the step after so many, if one is trained after the
        other."""
        return 0

    def trains_part(self, settings: TrainingSettings) -> bool:
        """Whether steps under these settings change a part of it only."""
        return False

    def mask(self, step: int, settings: TrainingSettings, parts: Mapping[str, Tensor]) -> None:
        """Sets to True, in bool tensors, this part for the step after so many."""
        raise NotImplementedError


def put_head(
    parts: Mapping[str, Tensor], head: tuple[Tensor, Tensor] | None, head_scale: float
) -> None:
    """Puts a head, if there is one, into the tensors of a parameter, in place.

    Args:
        parts: The tensors.
        head: Weights [classes, hidden size] and biases.
        head_scale: Factor between the parameters and these.
    """
    if head is not None:
        for name, tensor in zip((HEAD_WEIGHT, HEAD_BIAS), head, strict=True):
            parts[name].copy_(tensor / head_scale)
