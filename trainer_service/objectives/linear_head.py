"""The linear head that is trained on top of a frozen encoder."""

from __future__ import annotations

import torch
from torch import Tensor

_STD = 0.02
"""Standard deviation of its initial weights, as in transformers."""


def random_head(
    outputs: int, hidden_size: int, head_scale: float, generator: torch.Generator
) -> Tensor:
    """Parameters [outputs, hidden size] of the weights of a new head, on the CPU.

    Args:
        outputs: Its outputs.
        hidden_size: Length of what it reads.
        head_scale: Factor between the parameters and the weights.
        generator: Draws them.
    """
    return torch.randn(outputs, hidden_size, generator=generator) * _STD / head_scale
