"""Evaluates parts of many sequences in llama.cpp, as many together as a batch takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service_common.llama.runtime import BATCH, Runtime

_BATCH_ON_CPU = 32
"""Tokens per evaluation on a CPU. In batches of 64 and more, llama.cpp multiplies quantised weights
by another kernel, whose rounding moved log-probabilities of a 4-bit model by up to 0.4; batches of
512 took as much CPU time."""


class SequencePart(NamedTuple):
    """Tokens to evaluate at the end of a sequence."""

    tokens: Sequence[int]
    start: int
    """Tokens that the sequence holds."""
    sequence: int


class Evaluation:
    """Evaluates parts of sequences, and counts their tokens.

    Args:
        runtime: The model.
        abort: Called between batches; may raise to abort.
    """

    def __init__(self, runtime: Runtime, abort: Callable[[], None]) -> None:
        self._runtime, self._abort = runtime, abort
        self._batch = BATCH if runtime.gpu_layers else _BATCH_ON_CPU
        self._tokens = 0

    def log_probabilities(
        self, parts: Sequence[SequencePart], wanted: Sequence[int] = ()
    ) -> NDArray[np.float64]:
        """Evaluates parts of several sequences.

        Returns:
            Log-probabilities of the wanted tokens after each part, [parts, wanted].
        """
        tokens = [token for part in parts for token in part.tokens]
        positions = [part.start + i for part in parts for i in range(len(part.tokens))]
        sequences = [part.sequence for part in parts for _ in part.tokens]
        ends = np.cumsum([len(part.tokens) for part in parts]) - 1 if wanted else np.empty(0)
        found = np.empty((len(parts), len(wanted)))
        for begin in range(0, len(tokens), self._batch):
            self._abort()
            here = np.flatnonzero((ends >= begin) & (ends < begin + self._batch))
            outputs = (ends[here] - begin).astype(int).tolist()
            batch = slice(begin, begin + self._batch)
            logits = self._runtime.evaluate(
                tokens[batch], positions[batch], sequences[batch], outputs
            )
            if outputs:
                found[here] = _log_probabilities(logits, wanted)
        self._tokens += len(tokens)
        return found

    def take_tokens(self) -> int:
        """Tokens that were evaluated since the last call."""
        taken, self._tokens = self._tokens, 0
        return taken


def _log_probabilities(logits: NDArray[np.float32], wanted: Sequence[int]) -> NDArray[np.float64]:
    """Log-probabilities [rows, wanted] from logits [rows, vocabulary]."""
    most = logits.max(axis=1, keepdims=True)
    total = np.exp(logits - most).sum(axis=1, keepdims=True, dtype=np.float64)
    chosen = (logits[:, list(wanted)] - most).astype(np.float64)
    found: NDArray[np.float64] = chosen - np.log(total)
    return found
