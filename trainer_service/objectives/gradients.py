"""Gradients of several parameters in one backward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def gradients_of(
    losses: Callable[[Tensor], Tensor], parameters: Tensor, at_once: int
) -> tuple[Tensor, Tensor]:
    """Losses and gradients of k independent parameters.

    Args:
        losses: Differentiable; maps [n, *shape] to n losses.
        parameters: [k, *shape].
        at_once: Maximum parameters per backward pass, to limit memory.

    Returns:
        Losses float32 [k] and gradients float32 [k, *shape].
    """
    found, slopes = [], []
    for part in torch.split(parameters.detach(), max(1, at_once)):
        points = part.clone().requires_grad_(True)
        values = losses(points)
        (gradient,) = torch.autograd.grad(values.sum(), points)
        found.append(values.detach())
        slopes.append(gradient)
    return torch.cat(found), torch.cat(slopes)
