"""What scores labels: a GGUF file in llama.cpp, or a server. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

ANSWER_SHARE = 0.9
"""Probability that the label of an answer gets if the model gives no probabilities; the other
labels share the rest."""


class LabelScorer(Protocol):
    """Scores labels as continuations of inputs. Calls come from one thread."""

    model: str
    """The tuned model as it reports itself: a name, and for a file its SHA-256. The same whenever
    the model is the same."""
    room: int | None
    """Maximum tokens of a row's beginning behind the opening, if some of those that are known are
    longer; None: all fit, or it is not known."""
    gives_probabilities: bool
    """Whether scores are log-probabilities. False: they only say which label is the answer."""

    def scores(self, heads: Sequence[str], tails: Sequence[str]) -> NDArray[np.float64]:
        """Scores every label after every input ``head + tail``; a space is put before the label.

        Args:
            heads: Beginnings of the inputs, one per row.
            tails: Ends of the inputs, one per prompt.

        Returns:
            Log-probabilities up to a constant per input, [tails, heads, labels]; NaN where the
            model's answer is no label. The scores of a prompt do not depend on the other prompts.

        Raises:
            Unavailable: The model's server does not answer (reason TUNED_MODEL_AWAY).
            PreconditionFailed: The model is another one by now (reason TUNED_MODEL_CHANGED).
            MentorgradError: The model cannot score the inputs.
        """
        ...

    def count(self, text: str) -> int:
        """Tokens of a part of an input, if `room` is known."""
        ...

    def has_room(self, tail: str) -> bool:
        """Whether, as far as is known, the longest input of the run with this end and a label fits
        the model's context."""
        ...

    def take_tokens(self) -> int:
        """Tokens that were evaluated since the last call."""
        ...

    def close(self) -> None:
        """Frees the model or closes the connections."""
        ...


def answered(label: int | None, labels: int) -> list[float]:
    """Scores of an answer without probabilities; NaN if it is no label."""
    if label is None:
        return [np.nan] * labels
    rest = np.log((1.0 - ANSWER_SHARE) / max(labels - 1, 1))
    return [
        float(np.log(ANSWER_SHARE)) if index == label else float(rest) for index in range(labels)
    ]
