"""``probe.safetensors``: a run's linear probe, to classify further rows."""

from __future__ import annotations

import json

import torch

from mentorgrad.domain.run import Score
from mentorgrad.serialization import to_dict
from trainer_service import tensorfile
from trainer_service.baselines.frozen_model import Predicted
from trainer_service.baselines.linear_probe import LinearProbe
from trainer_service.tasks.data import TaskData


def probe_bytes(
    found: Predicted, feature: str, task: TaskData, selection: Score | None = None
) -> bytes:
    """The file. Which model gives the features is in ``model.json``.

    Args:
        found: A baseline with the arrays of a `LinearProbe`.
        feature: What the features are, for people.
        task: The run's rows.
        selection: Score on selection of the same probe, fitted on train alone.
    """
    facts = {
        "baseline": "linear_probe",
        "feature": feature,
        "labels": json.dumps(list(task.labels), ensure_ascii=False),
        "labelled_rows": str(found.labelled_rows),
        "settings": found.detail,
        "logits": "((feature - mean) / scale) @ weight.T + bias",
    }
    if selection is not None:
        facts["selection"] = json.dumps(to_dict(selection))
    tensors = {name: torch.from_numpy(array) for name, array in found.arrays.items()}
    return tensorfile.save(tensors, facts)


def read_probe(data: bytes) -> LinearProbe:
    """The inverse of `probe_bytes`.

    Raises:
        DataLoss: The bytes are no safetensors file.
        KeyError: An array is missing.
    """
    tensors, _ = tensorfile.load(data)
    return LinearProbe.of_arrays({name: tensor.numpy() for name, tensor in tensors.items()})
