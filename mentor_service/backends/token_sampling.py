"""Samples the next token from a model's logits, in numpy.

Implements llama.cpp's sampler chain (top-k, top-p, min-p, temperature) with its defaults, but only
on the tokens that can pass it: min-p cuts at a known distance from the most likely token, so most
of the vocabulary need not be sorted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TOP_K, TOP_P, MIN_P = 40, 0.95, 0.05
"""Sampling defaults of llama.cpp."""

_SPAN = 10.0
"""Tokens whose logit is further below the largest one are ignored. Min-p cuts at a distance of 3;
tokens in between matter for top-p only, and the top 40 have less than 0.002 of their probability
mass below this limit."""


def likely(logits: NDArray[np.float32]) -> NDArray[np.intp]:
    """Returns the ids of the tokens that matter for `draw`.

    Args:
        logits: Logits of the whole vocabulary, (vocabulary,).

    Raises:
        RuntimeError: The logits are NaN.
    """
    found = np.flatnonzero(logits >= logits.max() - _SPAN)
    if not len(found):
        raise RuntimeError("the model returned NaN logits")
    return found


def likeliest(logits: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Returns the ids of the `count` largest logits, unordered."""
    count = min(count, len(logits))
    return np.argpartition(logits, -count)[-count:]


def draw(
    ids: NDArray[np.intp], logits: NDArray[np.float32], temperature: float, uniform: float
) -> int:
    """Samples one of `ids`.

    Args:
        ids: Token ids, (n,); at least one.
        logits: Their logits, (n,); finite.
        temperature: Sampling temperature; 0: the most likely token.
        uniform: Uniform random number from [0, 1).
    """
    if temperature <= 0:
        return int(ids[np.argmax(logits)])
    order, mass = _kept(logits, temperature)
    weights = np.cumsum(mass)
    chosen = int(np.searchsorted(weights, uniform * weights[-1], side="right"))
    return int(ids[order[min(chosen, len(order) - 1)]])


def choices(
    ids: NDArray[np.intp], logits: NDArray[np.float32], temperature: float
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The tokens that `draw` can choose, the likeliest first, with their log-probabilities.

    Args:
        ids: Token ids, (n,); at least one.
        logits: Their logits, (n,); finite.
        temperature: Sampling temperature; positive.
    """
    order, mass = _kept(logits, temperature)
    return ids[order], np.log(mass / mass.sum())


def _kept(
    logits: NDArray[np.float32], temperature: float
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Indices of the tokens that pass the chain, descending, and their probability masses."""
    order = np.argsort(-logits, kind="stable")[:TOP_K]
    below = logits[order].astype(np.float64)
    below -= below[0]
    mass = np.exp(below)
    reached = np.cumsum(mass / mass.sum())
    kept = below[: int(np.searchsorted(reached, TOP_P)) + 1]
    # Sorted descending: min-p keeps a prefix, which is never empty.
    kept = kept[kept >= np.log(MIN_P)]
    return order[: len(kept)], np.exp(kept / temperature)
