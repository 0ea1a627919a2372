"""Linear layers of a model, as nn.Linear or as GPT-2 has them: with the matrix transposed."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D


def linear_layers(model: nn.Module) -> dict[str, nn.Module]:
    """A model's linear layers by name, for adapters."""
    modules = model.named_modules()
    return {name: module for name, module in modules if isinstance(module, (nn.Linear, Conv1D))}


def is_transposed(layer: nn.Module) -> bool:
    """Whether a layer's matrix is [in, out]."""
    return isinstance(layer, Conv1D)


def linear_shape(layer: nn.Module) -> tuple[int, int]:
    """(out, in) of a linear layer."""
    weight: Any = layer.weight
    rows, columns = weight.shape
    return (columns, rows) if is_transposed(layer) else (rows, columns)
