"""Backward passes that compute the activations of a layer again instead of keeping them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from mentorgrad.errors import InvalidInput
from trainer_service.encoding.weight_files import UNSUITABLE

Circumstances = Callable[[], AbstractContextManager[None]]
"""Makes the context that a forward pass needs."""

_held: ContextVar[Circumstances] = ContextVar("held", default=nullcontext)


def recompute_layers(network: Any, model: str, field: str) -> None:
    """Makes the layers of a frozen model of transformers compute their activations again.

    The switch of transformers has an effect in training mode alone, which turns dropout on. A layer
    may read a cache of keys and values, and must add nothing to it.

    Args:
        network: The model.
        model: Its name.
        field: Path of the spec's field that asks for this.

    Raises:
        InvalidInput: It has no layers for which this is known to work.
    """
    layers = [each for each in network.modules() if isinstance(each, GradientCheckpointingLayer)]
    if not layers:
        raise InvalidInput.field(
            field,
            f"must be false: the layers of {model} cannot be computed again in the backward pass",
            reason=UNSUITABLE,
        )
    for layer in layers:
        layer.forward = partial(_recomputed, layer.forward)


@contextmanager
def held(circumstances: Circumstances) -> Iterator[None]:
    """What a forward pass within it needs; layers that are computed again get it once more, when
    this has long ended."""
    token = _held.set(circumstances)
    try:
        with circumstances():
            yield
    finally:
        _held.reset(token)


def _recomputed(forward: Callable[..., Any], *given: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*given, **named)
    again = _held.get()
    return checkpoint(
        forward,
        *given,
        use_reentrant=False,
        preserve_rng_state=False,  # the layers draw no random numbers
        context_fn=lambda: (nullcontext(), again()),
        **named,
    )
