"""Gradients of several parameters by one backward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def gradients_of(
    losses: Callable[[Tensor], Tensor], parameters: Tensor, at_once: int
) -> tuple[Tensor, Tensor]:
    """Losses and their gradients, each parameter's own: none has a part in another's loss.

    Args:
        losses: Differentiable: [n, *shape] → n losses.
        parameters: [k, *shape].
        at_once: Most parameters in one pass, which memory limits.

    Returns:
        float32 [k] and [k, *shape].
    """
    found, slopes = [], []
    for part in torch.split(parameters.detach(), max(1, at_once)):
        points = part.clone().requires_grad_(True)
        values = losses(points)
        (gradient,) = torch.autograd.grad(values.sum(), points)
        found.append(values.detach())
        slopes.append(gradient)
    return torch.cat(found), torch.cat(slopes)
