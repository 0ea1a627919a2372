"""The optimizers ``zo_sgd``, ``zo_sign``, ``zo_adam``, ``zo_conservative`` and ``forward_grad``.

They follow an estimate of the gradient along random directions z of standard normal numbers, whose
expectation is z·zᵀ·gradient = gradient. The directions are drawn from the step's generator and not
kept: after a resume the step draws them again.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from mentorgrad.domain import spec as specs
from trainer_service.optimizers.first_order import AdamW, FirstOrder, GradientEstimate
from trainer_service.protocols import Oracle, Step


def _directions(count: int, parameters: Tensor, oracle: Oracle) -> Tensor:
    """Standard normal numbers [count, *shape]."""
    drawn = torch.randn(count, *parameters.shape, generator=oracle.generator())
    return drawn.to(parameters.device)


def _along(directions: Tensor, slopes: Tensor) -> Tensor:
    """The gradient [*shape] that `slopes` [k] along `directions` [k, *shape] amount to."""
    along: Tensor = torch.tensordot(slopes, directions, dims=1)
    return along / len(directions)


def finite_difference(spec: specs.Optimizer) -> GradientEstimate:
    """An estimate from the criterion's values at two points per direction: the mean of
    (L(θ+εz) − L(θ−εz)) / 2ε · z (Spall, IEEE Transactions on Automatic Control 37(3), 1992; with
    normal directions Malladi et al., MeZO, NeurIPS 2023). The loss is the mean over the points.

    Args:
        spec: Uses `perturbation`, which is ε per unit, and `directions`.
    """
    count = spec.directions or 1

    def estimate(parameters: Tensor, oracle: Oracle) -> tuple[Tensor, Tensor]:
        directions = _directions(count, parameters, oracle)
        moves = spec.perturbation * oracle.unit * directions
        losses, values = oracle.values(torch.cat([parameters + moves, parameters - moves]))
        ahead, behind = values.chunk(2)
        slopes = (ahead - behind) / (2.0 * spec.perturbation)
        return losses.mean(), _along(directions, slopes)

    return estimate


def forward_derivative(spec: specs.Optimizer) -> GradientEstimate:
    """An estimate from the loss's derivative along each direction, in forward mode: without the
    error of a finite difference (Baydin et al., Gradients without Backpropagation, 2022).

    Args:
        spec: Uses `directions`.
    """
    count = spec.directions or 1

    def estimate(parameters: Tensor, oracle: Oracle) -> tuple[Tensor, Tensor]:
        directions = _directions(count, parameters, oracle)
        asked = [oracle.derivative(parameters, oracle.unit * each) for each in directions]
        slopes = torch.stack([slope for _, slope in asked])
        return asked[0][0], _along(directions, slopes)

    return estimate


class Descent(FirstOrder):
    """Plain gradient descent, without moments."""

    moment_names: ClassVar[frozenset[str]] = frozenset()

    def _update(self, parameters: Tensor, gradient: Tensor, learning_rate: float) -> None:
        parameters.mul_(1.0 - learning_rate * self._weight_decay)
        parameters.sub_(learning_rate * gradient)


class SignDescent(Descent):
    """Moves every number by the learning rate, against the sign of its gradient."""

    def _update(self, parameters: Tensor, gradient: Tensor, learning_rate: float) -> None:
        super()._update(parameters, gradient.sign(), learning_rate)


class ConservativeDescent(Descent):
    """Compares the parameters with a step of `Descent` and with one in the opposite direction, and
    takes the lowest of the three on the batch; in case of a tie the lowest loss."""

    @torch.no_grad()
    def step(self, parameters: Tensor, oracle: Oracle, learning_rate: float) -> Step:
        """Asks for a gradient and for three values; updates the tensor `parameters` in place."""
        _, gradient, norm = self._clipped(parameters, oracle)
        points = torch.stack([parameters] * 3)
        for point, sign in zip(points[1:], (1.0, -1.0), strict=True):
            self._update(point, sign * gradient, learning_rate)
        losses, values = oracle.values(points)
        tied = torch.where(values == values.min(), losses.nan_to_num(torch.inf), torch.inf)
        parameters.copy_(points.index_select(0, tied.argmin(0, keepdim=True))[0])
        self._steps += 1
        return Step(losses[0], norm)


def zo_sgd(spec: specs.Optimizer) -> FirstOrder:
    """Descent along a finite difference (MeZO)."""
    return Descent(spec.weight_decay, spec.clip_norm, finite_difference(spec))


def zo_sign(spec: specs.Optimizer) -> FirstOrder:
    """Descent along the sign of a finite difference (Liu et al., signSGD via Zeroth-Order Oracle,
    ICLR 2019)."""
    return SignDescent(spec.weight_decay, spec.clip_norm, finite_difference(spec))


def zo_adam(spec: specs.Optimizer) -> FirstOrder:
    """AdamW whose moments are those of a finite difference."""
    return AdamW(spec.weight_decay, spec.clip_norm, finite_difference(spec))


def zo_conservative(spec: specs.Optimizer) -> FirstOrder:
    """Descent along a finite difference that never increases the criterion on the batch (Zhang et
    al., Revisiting Zeroth-Order Optimization for Memory-Efficient LLM Fine-Tuning, ICML 2024)."""
    return ConservativeDescent(spec.weight_decay, spec.clip_norm, finite_difference(spec))


def forward_grad(spec: specs.Optimizer) -> FirstOrder:
    """Descent along derivatives in forward mode."""
    return Descent(spec.weight_decay, spec.clip_norm, forward_derivative(spec))
