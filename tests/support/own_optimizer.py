"""A whole optimizer in a few lines, as somebody would add it: it asks for values alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mentorgrad.domain import spec as specs
from trainer_service.costs import FORWARD
from trainer_service.optimizers.kinds import OptimizerKind
from trainer_service.protocols import Oracle, Step


class Spsa:
    """Simultaneous perturbation (Spall, IEEE Transactions on Automatic Control 37(3), 1992)."""

    def __init__(self, distance: float) -> None:
        self._distance = distance
        self._steps = 0

    @classmethod
    def from_spec(cls, spec: specs.Optimizer) -> Spsa:
        return cls(distance=0.01)

    def step(self, parameters: Tensor, oracle: Oracle, learning_rate: float) -> Step:
        coins = torch.randint(0, 2, parameters.shape, generator=oracle.generator())
        direction = (2.0 * coins - 1.0).to(parameters.device)
        move = self._distance * oracle.unit * direction
        losses, values = oracle.values(torch.stack([parameters + move, parameters - move]))
        ahead, behind = values
        gradient = (ahead - behind) / (2.0 * self._distance) * direction
        parameters.sub_(learning_rate * gradient)
        self._steps += 1
        return Step(losses.mean(), torch.linalg.vector_norm(gradient))

    def state(self) -> dict[str, Tensor]:
        return {"steps": torch.tensor(self._steps)} if self._steps else {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        self._steps = int(state.get("steps", 0))


KIND = OptimizerKind(
    "spsa",
    "tests.support.own_optimizer:Spsa.from_spec",
    passes=2 * FORWARD,
    needs_gradients=False,
    is_first_order=False,
)
