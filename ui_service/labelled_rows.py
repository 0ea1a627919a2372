"""What a classifier predicts for rows whose labels a visitor knows. Nothing of them is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mentorgrad.domain.label_score import label_scores
from mentorgrad.domain.prediction import Prediction
from mentorgrad.errors import InvalidInput
from ui_service import messages

MAX_ROWS = 1_000
MAX_ERRORS = 50
"""Errors that are listed."""


@dataclass(frozen=True)
class LabelledRows:
    """Texts with their labels.

    Raises:
        InvalidInput: They are not as many, or not from 1 to `MAX_ROWS`.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    pairs: tuple[str, ...] | None = None
    """Second texts, for a classifier of pairs."""

    def __post_init__(self) -> None:
        if not 0 < len(self.texts) <= MAX_ROWS:
            raise InvalidInput.field("texts", f"must have 1 to {MAX_ROWS} entries")
        for name, values in (("labels", self.labels), ("pairs", self.pairs)):
            if values is not None and len(values) != len(self.texts):
                raise InvalidInput.field(name, "must have as many entries as texts")

    def label_indices(self, known: Sequence[str]) -> list[int]:
        """The index of each row's label.

        Args:
            known: The labels of the classifier.

        Raises:
            InvalidInput: A row has none of them.
        """
        places = {label: at for at, label in enumerate(known)}
        for row, label in enumerate(self.labels):
            if label not in places:
                said = f"is {label[:100]!r}, which is no label of the classifier"
                raise InvalidInput.field(f"labels[{row}]", said)
        return [places[label] for label in self.labels]


def of_body(body: Any) -> LabelledRows:
    """Reads ``{"texts": [...], "labels": [...], "pairs": [...]}``; `pairs` can be left out.

    Raises:
        InvalidInput: It is not.
    """
    found = body if isinstance(body, dict) else {}
    fields = [found.get("texts"), found.get("labels"), found.get("pairs", [])]
    if not all(isinstance(field, list) for field in fields) or any(
        not isinstance(item, str) for field in fields for item in field
    ):
        raise InvalidInput.field("texts", "and labels must be given, as lists of texts")
    texts, labels, pairs = map(tuple, fields)
    return LabelledRows(texts, labels, pairs if "pairs" in found else None)


def compared(
    known: Sequence[str], expected: Sequence[int], predictions: Sequence[Prediction]
) -> dict[str, Any]:
    """How often each label is predicted, and the most confident errors, first the surest.

    Args:
        known: The labels of the classifier.
        expected: Index of each row's own label.
        predictions: What is predicted for each row.
    """
    counts = np.zeros((len(known), len(known)), dtype=np.int64)
    for own, found in zip(expected, predictions, strict=True):
        counts[own, found.label_index] += 1
    errors: list[dict[str, Any]] = [
        {
            "row": row,
            "label": known[own],
            "predicted": found.label,
            "probability": found.probabilities[found.label_index],
        }
        for row, (own, found) in enumerate(zip(expected, predictions, strict=True))
        if found.label_index != own
    ]
    errors.sort(key=lambda error: -error["probability"])
    return {
        "labelScores": [messages.of_label_score(score) for score in label_scores(known, counts)],
        "rows": len(expected),
        "wrong": len(errors),
        "errors": errors[:MAX_ERRORS],
    }
