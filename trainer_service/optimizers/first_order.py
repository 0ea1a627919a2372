"""``adamw`` and ``sgd``: torch's own, on whichever parameter they are handed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from mentorgrad.errors import InvalidInput


class TorchOptimizer:
    """One of `torch.optim` behind the `Optimizer` protocol.

    The moments belong to this object, not to a tensor: handed another tensor of the same shape (a
    branch of a race, a restart), it goes on with them, and whoever wants a fresh start says
    ``load({})``.

    Args:
        clip_norm: Largest norm of a gradient; 0: not clipped.
    """

    state_keys: ClassVar[frozenset[str]]
    """What `state` holds, at most."""

    def __init__(self, clip_norm: float) -> None:
        self._clip_norm = clip_norm
        self._inner: torch.optim.Optimizer | None = None
        self._parameters: Tensor | None = None
        self._state: dict[str, Tensor] = {}
        self._steps = 0

    def _make(self, parameters: Tensor) -> torch.optim.Optimizer:
        raise NotImplementedError

    def step(self, parameters: Tensor, gradient: Tensor, learning_rate: float) -> Tensor:
        """Updates the tensor `parameters` in place.

        Returns:
            Norm of the gradient before clipping, a scalar tensor.
        """
        inner = self._bind(parameters)
        norm: Tensor = torch.linalg.vector_norm(gradient)
        if self._clip_norm > 0.0:
            # A factor on the device, never a comparison on the host: that would wait for the step.
            gradient = gradient * (self._clip_norm / norm.clamp_min(1e-12)).clamp_max(1.0)
        parameters.grad = gradient
        inner.param_groups[0]["lr"] = learning_rate
        inner.step()
        parameters.grad = None
        self._steps += 1
        return norm

    def _bind(self, parameters: Tensor) -> torch.optim.Optimizer:
        """The inner optimizer for this very tensor, with the moments so far."""
        if self._inner is None or self._parameters is not parameters:
            state = self.state()
            inner = self._make(parameters)
            moments = {
                # torch keeps its own step counter on the host.
                name: value.to("cpu" if name == "step" else parameters.device)
                for name, value in state.items()
                if name != "steps"
            }
            if moments:
                inner.state[parameters] = moments
            self._inner, self._parameters, self._state = inner, parameters, {}
        return self._inner

    def state(self) -> dict[str, Tensor]:
        """Moments and the number of steps taken, copied; empty when fresh."""
        if self._steps == 0:
            return {}
        if self._inner is None or self._parameters is None:  # loaded, and no step taken since
            held: Mapping[str, Tensor | None] = self._state
        else:
            held = self._inner.state[self._parameters]
        copied = {name: value.detach().clone() for name, value in held.items() if value is not None}
        return {**copied, "steps": torch.tensor(self._steps, dtype=torch.int64)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restores what `state` gave; an empty mapping resets.

        Raises:
            InvalidInput: The state is another optimizer's.
        """
        strange = sorted(set(state) - self.state_keys)
        if strange or (state and "steps" not in state):
            raise InvalidInput(
                f"optimizer state does not fit {type(self).__name__}: {', '.join(state)}",
                reason="OPTIMIZER_STATE_MISMATCH",
            )
        self._inner = None
        self._parameters = None
        self._steps = int(state["steps"]) if state else 0
        self._state = {k: v.detach().clone() for k, v in state.items() if k != "steps"}


class AdamW(TorchOptimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019)."""

    state_keys = frozenset({"steps", "step", "exp_avg", "exp_avg_sq"})

    def __init__(self, weight_decay: float, clip_norm: float) -> None:
        super().__init__(clip_norm)
        self._weight_decay = weight_decay

    def _make(self, parameters: Tensor) -> torch.optim.Optimizer:
        return torch.optim.AdamW([parameters], weight_decay=self._weight_decay)


class SGD(TorchOptimizer):
    """Stochastic gradient descent with momentum; its weight decay is decoupled, as AdamW's is."""

    state_keys = frozenset({"steps", "momentum_buffer"})

    def __init__(self, momentum: float, weight_decay: float, clip_norm: float) -> None:
        super().__init__(clip_norm)
        self._momentum = momentum
        self._weight_decay = weight_decay

    def _make(self, parameters: Tensor) -> torch.optim.Optimizer:
        return torch.optim.SGD([parameters], lr=1.0, momentum=self._momentum)

    def step(self, parameters: Tensor, gradient: Tensor, learning_rate: float) -> Tensor:
        """As in `TorchOptimizer.step`; the decay is applied apart from the momentum."""
        with torch.no_grad():
            before = parameters.detach().clone() if self._weight_decay > 0.0 else None
        norm = super().step(parameters, gradient, learning_rate)
        if before is not None:
            with torch.no_grad():
                parameters.sub_(before, alpha=learning_rate * self._weight_decay)
        return norm
