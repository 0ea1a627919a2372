"""Gradient steps that change a part of the parameter only; see `Problem.trained_part`."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer_service.objectives.problem import Problem
from trainer_service.protocols import Optimizer, Oracle, Step
from trainer_service.training_settings import TrainingSettings


class PartOracle:
    """An `Oracle` for which everything but a part of the parameter is constant.

    Args:
        oracle: Answers for the whole parameter.
        part: Numbers that the step may change, bool [*shape].
        point: The parameter [*shape] before the step.
    """

    def __init__(self, oracle: Oracle, part: Tensor, point: Tensor) -> None:
        self._oracle, self._part, self._point = oracle, part, point

    @property
    def unit(self) -> float:
        """See `Oracle`."""
        return self._oracle.unit

    def losses(self, points: Tensor) -> Tensor:
        """See `Oracle`."""
        return self._oracle.losses(torch.where(self._part, points, self._point))

    def values(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """See `Oracle`."""
        return self._oracle.values(torch.where(self._part, points, self._point))

    def gradient(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """See `Oracle`."""
        loss, gradient = self._oracle.gradient(point)
        return loss, torch.where(self._part, gradient, 0.0)

    def derivative(self, point: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        """See `Oracle`."""
        return self._oracle.derivative(point, torch.where(self._part, direction, 0.0))

    def generator(self) -> torch.Generator:
        """See `Oracle`."""
        return self._oracle.generator()


def take_step(
    problem: Problem,
    optimizer: Optimizer,
    parameters: Tensor,
    oracle: Oracle,
    learning_rate: float,
    step: int,
    settings: TrainingSettings | None = None,
) -> Step:
    """An optimizer's step on the part of the parameters [*shape] that is trained after so many
    steps of the trajectory under these settings, in place."""
    part = problem.trained_part(step, settings)
    if part is None:
        return optimizer.step(parameters, oracle, learning_rate)
    before = parameters.clone()
    taken = optimizer.step(parameters, PartOracle(oracle, part, before), learning_rate)
    parameters.copy_(torch.where(part, parameters, before))
    return taken
