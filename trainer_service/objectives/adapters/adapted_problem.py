"""What the problems of adapters share: a parameter in the flat layout."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from trainer_service.objectives.adapters.adapter import Adapter
from trainer_service.objectives.adapters.layout import FlatLayout
from trainer_service.objectives.problem import Problem
from trainer_service.training_settings import TrainingSettings


class AdaptedProblem(Problem):
    """Base of the problems of adapters, beside another one. A subclass calls `_adapt`."""

    layout: FlatLayout
    """The tensors of a parameter."""

    def _adapt(self, adapter: Adapter, others: Mapping[str, tuple[int, ...]]) -> None:
        """Sets what depends on the adapter; `others` are the shapes of further tensors."""
        self._adapter = adapter
        self.layout = FlatLayout({**adapter.shapes, **others})
        self.shape, self.unit = self.layout.shape, adapter.unit

    def draw(self, generator: torch.Generator) -> Tensor:
        """A random parameter [1, N], on the CPU; other tensors than the adapter's are 0."""
        drawn = torch.zeros(self.shape)
        self._adapter.draw(self.layout.views(drawn), generator)
        return drawn

    def trained_part(self, step: int, settings: TrainingSettings | None = None) -> Tensor | None:
        """See `Problem`."""
        settings = settings or {}
        if not self._adapter.trains_part(settings):
            return None
        mask = torch.zeros(self.shape, dtype=torch.bool)
        parts = self.layout.views(mask)
        self._adapter.mask(step, settings, parts)
        for name in parts.keys() - self._adapter.shapes.keys():
            parts[name].fill_(True)
        return mask.to(self.device)

    def begins_part(self, step: int) -> bool:
        """See `Problem`."""
        return step > 0 and self._adapter.turn(step) != self._adapter.turn(step - 1)
