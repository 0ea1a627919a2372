"""The optimizers ``adamw`` and ``sgd``, on top of torch's functional updates.

They call the functional API because the classes of `torch.optim` are bound to their parameters, and
creating one imports torch's compiler, which adds more than a second to every worker's start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from mentorgrad.domain import spec as specs
from mentorgrad.errors import InvalidInput
from trainer_service.protocols import Oracle, Step

GradientEstimate = Callable[[Tensor, Oracle], tuple[Tensor, Tensor]]
"""(parameters [*shape], oracle) → loss on the batch, and its gradient [*shape] per unit: the
gradient of the loss in parameters that are measured in `Oracle.unit`, so that one learning rate
serves parameters of any scale."""


def exact_gradient(parameters: Tensor, oracle: Oracle) -> tuple[Tensor, Tensor]:
    """The gradient itself; an `GradientEstimate`."""
    loss, gradient = oracle.gradient(parameters)
    return loss, gradient * oracle.unit


class FirstOrder:
    """Base of the optimizers that follow a gradient, exact or estimated; its moments are not bound
    to a parameter tensor.

    Called with another tensor of the same shape (a branch of a race, a restart), it continues with
    its moments. ``load({})`` resets them.

    Args:
        weight_decay: Decoupled weight decay; multiplied by the learning rate in each step.
        clip_norm: Maximum gradient norm; 0: no clipping.
        estimate: Where the gradient comes from.
    """

    moment_names: ClassVar[frozenset[str]]
    """Names of the moments."""

    def __init__(
        self, weight_decay: float, clip_norm: float, estimate: GradientEstimate = exact_gradient
    ) -> None:
        self._estimate = estimate
        self._weight_decay = weight_decay
        self._clip_norm = clip_norm
        self._moments: dict[str, Tensor] = {}
        self._steps = 0

    def _update(self, parameters: Tensor, gradient: Tensor, learning_rate: float) -> None:
        raise NotImplementedError

    @torch.no_grad()
    def step(self, parameters: Tensor, oracle: Oracle, learning_rate: float) -> Step:
        """Asks for one gradient and updates the tensor `parameters` in place."""
        loss, gradient, norm = self._clipped(parameters, oracle)
        self._update(parameters, gradient, learning_rate)
        self._steps += 1
        return Step(loss, norm)

    def _clipped(self, parameters: Tensor, oracle: Oracle) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, clipped gradient [*shape], and norm of the gradient before clipping."""
        loss, gradient = self._estimate(parameters, oracle)
        norm: Tensor = torch.linalg.vector_norm(gradient)
        if self._clip_norm > 0.0:
            # Computed on the device, because a comparison on the host would force a sync.
            gradient = gradient * (self._clip_norm / norm.clamp_min(1e-12)).clamp_max(1.0)
        return loss, gradient, norm

    def _moment(self, name: str, parameters: Tensor) -> Tensor:
        """A moment with the parameter's shape and device; initially zero."""
        known = self._moments.get(name)
        moment = torch.zeros_like(parameters) if known is None else known.to(parameters.device)
        self._moments[name] = moment
        return moment

    def state(self) -> dict[str, Tensor]:
        """Copies of the moments and the number of steps; empty before the first step."""
        if self._steps == 0:
            return {}
        copied = {name: moment.clone() for name, moment in self._moments.items()}
        return {**copied, "steps": torch.tensor(self._steps, dtype=torch.int64)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restores a result of `state`; an empty mapping resets the optimizer.

        Raises:
            InvalidInput: The state belongs to another kind of optimizer.
        """
        if state and state.keys() != self.moment_names | {"steps"}:
            raise InvalidInput(
                f"optimizer state does not fit {type(self).__name__}: {', '.join(state)}",
                reason="OPTIMIZER_STATE_MISMATCH",
            )
        self._steps = int(state["steps"]) if state else 0
        self._moments = {name: state[name].detach().clone() for name in state if name != "steps"}


class AdamW(FirstOrder):
    """Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019)."""

    moment_names = frozenset({"exp_avg", "exp_avg_sq"})

    @classmethod
    def from_spec(cls, spec: specs.Optimizer) -> AdamW:
        """The optimizer that a spec describes."""
        return cls(spec.weight_decay, spec.clip_norm)

    def _update(self, parameters: Tensor, gradient: Tensor, learning_rate: float) -> None:
        adamw(
            [parameters],
            [gradient],
            [self._moment("exp_avg", parameters)],
            [self._moment("exp_avg_sq", parameters)],
            [],
            [
                torch.tensor(float(self._steps))
            ],  # on the host, where torch computes the bias correction
            foreach=False,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=learning_rate,
            weight_decay=self._weight_decay,
            eps=1e-8,
            maximize=False,
        )


class SGD(FirstOrder):
    """Stochastic gradient descent with momentum and decoupled weight decay (as in AdamW)."""

    moment_names = frozenset({"momentum_buffer"})

    def __init__(self, momentum: float, weight_decay: float, clip_norm: float) -> None:
        super().__init__(weight_decay, clip_norm)
        self._momentum = momentum

    @classmethod
    def from_spec(cls, spec: specs.Optimizer) -> SGD:
        """The optimizer that a spec describes."""
        return cls(spec.momentum, spec.weight_decay, spec.clip_norm)

    def _update(self, parameters: Tensor, gradient: Tensor, learning_rate: float) -> None:
        parameters.mul_(1.0 - learning_rate * self._weight_decay)
        sgd(
            [parameters],
            [gradient],
            [self._moment("momentum_buffer", parameters)],
            foreach=False,
            weight_decay=0.0,
            momentum=self._momentum,
            lr=learning_rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
