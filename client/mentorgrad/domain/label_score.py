"""What a classifier predicts for the rows of each label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mentorgrad.schema import bounded, recorded

MOST_GUESSED_LABELS = 60
"""Labels up to which it is recorded which label was predicted instead: beyond, the numbers grow
with the square of the labels, and nobody reads them."""


@dataclass(frozen=True)
class LabelScore:
    """What a classifier predicts for the rows of one label."""

    label: str = recorded()
    """Label word."""
    rows: int = 0
    """Number of rows with this label."""
    predicted: int = 0
    """Number of rows for which this label is predicted."""
    precision: float | None = None
    """Share of the rows for which this label is predicted that have it; absent if there are
    none."""
    recall: float | None = None
    """Share of the rows with this label for which it is predicted; absent if there are none."""
    f1: float | None = None
    """Harmonic mean of precision and recall; absent if neither is defined. `Score.macro_f1` is its
    mean over the labels."""
    guesses: tuple[int, ...] = bounded((), max_length=1_000)
    """Number of rows with this label by the label that is predicted, in the order of the labels;
    empty if there are more than 60 labels."""


def label_scores(labels: Sequence[str], counts: NDArray[np.int64]) -> tuple[LabelScore, ...]:
    """The scores of all labels, in their order.

    Args:
        labels: Label words.
        counts: Rows by label and prediction [labels, labels].
    """
    rows, predicted, right = counts.sum(1), counts.sum(0), counts.diagonal()

    def share(part: int, whole: int) -> float | None:
        return part / whole if whole else None

    is_small = len(labels) <= MOST_GUESSED_LABELS
    return tuple(
        LabelScore(
            label=label,
            rows=int(rows[at]),
            predicted=int(predicted[at]),
            precision=share(int(right[at]), int(predicted[at])),
            recall=share(int(right[at]), int(rows[at])),
            f1=share(2 * int(right[at]), int(rows[at] + predicted[at])),
            guesses=tuple(counts[at].tolist()) if is_small else (),
        )
        for at, label in enumerate(labels)
    )
