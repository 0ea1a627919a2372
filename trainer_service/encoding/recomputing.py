"""Backward passes that compute the activations of a layer again instead of keeping them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer


def recompute_layers(network: Any) -> bool:
    """Makes the layers of a frozen model of transformers compute their activations again.

    The switch of transformers has an effect in training mode alone, which turns dropout on.

    Returns:
        Whether the model has layers for which this is known to work.
    """
    layers = [each for each in network.modules() if isinstance(each, GradientCheckpointingLayer)]
    for layer in layers:
        layer.forward = partial(_recomputed, layer.forward)
    return bool(layers)


def _recomputed(forward: Callable[..., Any], *given: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*given, **named)
    # The layers draw no random numbers.
    return checkpoint(forward, *given, use_reentrant=False, preserve_rng_state=False, **named)
