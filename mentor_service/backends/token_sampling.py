"""Drawing the next token out of a model's logits, in numpy.

llama.cpp's own chain (top-k, top-p, min-p, temperature) with its defaults, on the few tokens that
can come through it: min-p cuts at a known distance from the likeliest token, so that most of a
vocabulary never has to be sorted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TOP_K, TOP_P, MIN_P = 40, 0.95, 0.05
"""Sampling defaults of llama.cpp."""

_SPAN = 10.0
"""Logits below the largest one that are looked at. Min-p cuts at 3; what lies between counts for
top-p only, and the 40 likeliest have less than 0.002 of their mass below this."""


def likely(logits: NDArray[np.float32]) -> NDArray[np.intp]:
    """The tokens that `draw` can draw, and those that matter for it.

    Args:
        logits: Of the whole vocabulary, (vocabulary,).

    Raises:
        RuntimeError: The logits are no numbers.
    """
    found = np.flatnonzero(logits >= logits.max() - _SPAN)
    if not len(found):
        raise RuntimeError("the model's logits are no numbers")
    return found


def likeliest(logits: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """The `count` tokens of the largest logits, in no order."""
    count = min(count, len(logits))
    return np.argpartition(logits, -count)[-count:]


def draw(
    ids: NDArray[np.intp], logits: NDArray[np.float32], temperature: float, uniform: float
) -> int:
    """One of `ids`.

    Args:
        ids: Tokens, (n,); at least one.
        logits: Theirs, (n,); finite.
        temperature: 0: the likeliest.
        uniform: What decides, from [0, 1).
    """
    if temperature <= 0:
        return int(ids[np.argmax(logits)])
    order = np.argsort(-logits, kind="stable")[:TOP_K]
    below = logits[order].astype(np.float64)
    below -= below[0]
    mass = np.exp(below)
    reached = np.cumsum(mass / mass.sum())
    kept = below[: int(np.searchsorted(reached, TOP_P)) + 1]
    # Falling, and so is the mass: what min-p keeps is a head of it, never empty.
    kept = kept[kept >= np.log(MIN_P)]
    weights = np.cumsum(np.exp(kept / temperature))
    chosen = int(np.searchsorted(weights, uniform * weights[-1], side="right"))
    return int(ids[order[min(chosen, len(kept) - 1)]])
