"""What the methods of a run predict for its test rows: ``predictions.safetensors``, read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mentorgrad.domain.run import Score
from mentorgrad.errors import DataLoss
from mentorgrad.serialization import from_dict
from mentorgrad.tune.figures import Labels

PREDICTIONS_FILE = "predictions.safetensors"
"""The file of a run."""

_TYPES: dict[str, np.dtype[Any]] = {
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}


@dataclass(frozen=True, eq=False)
class RowPredictions:
    """What one method predicts for some rows."""

    predicted: Labels
    """Class indices [rows]."""
    probabilities: NDArray[np.float64]
    """Those of the predicted classes, [rows]."""
    losses: NDArray[np.float64]
    """Cross-entropy of the rows' labels, in nats, [rows]."""

    @classmethod
    def of_shares(cls, labels: Labels, shares: NDArray[np.float64]) -> RowPredictions:
        """Of probabilities [rows, classes] and the rows' labels [rows]."""
        known = np.maximum(shares[np.arange(len(labels)), labels], np.finfo(np.float64).tiny)
        return cls(shares.argmax(-1), shares.max(-1), -np.log(known))


@dataclass(frozen=True, eq=False)
class RunPredictions:
    """What each method of a run predicts for its test rows."""

    labels: Labels
    """Class indices of the rows, in the order of the test split."""
    methods: Mapping[str, RowPredictions]
    """By the method's name: ``prompt``, ``words`` and the baselines."""
    selection: Mapping[str, Score]
    """Scores on selection, of ``words``."""


def read_predictions(data: bytes) -> RunPredictions:
    """Reads the file.

    Raises:
        DataLoss: It is damaged.
    """
    try:
        arrays, facts = read_tensors(data)
        labels = arrays.pop("labels").astype(np.int64)
        names = dict.fromkeys(name.rpartition(".")[0] for name in arrays)
        methods = {
            name: RowPredictions(
                arrays[f"{name}.predicted"].astype(np.int64),
                arrays[f"{name}.probability"].astype(np.float64),
                arrays[f"{name}.loss"].astype(np.float64),
            )
            for name in names
        }
        scores = json.loads(facts.get("selection", "{}"))
        selection = {name: from_dict(Score, score) for name, score in scores.items()}
    except (KeyError, ValueError, TypeError, AttributeError):
        raise DataLoss(f"{PREDICTIONS_FILE} is damaged") from None
    return RunPredictions(labels, methods, selection)


def read_tensors(data: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Arrays and metadata of a safetensors file, without the library, which the SDK does without.

    Raises:
        ValueError: The bytes are no such file.
        KeyError: A type is not known here.
    """
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    facts = header.pop("__metadata__", {})
    arrays = {
        name: np.frombuffer(
            data, _TYPES[one["dtype"]], math.prod(one["shape"]), 8 + size + one["data_offsets"][0]
        ).reshape(one["shape"])
        for name, one in header.items()
    }
    return arrays, facts
