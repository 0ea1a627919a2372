"""``predictions.safetensors``: what each method predicts for the test rows of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping

from torch import Tensor

from mentorgrad.domain.run import Score
from mentorgrad.serialization import to_dict
from trainer_service import tensorfile


def predictions_bytes(
    labels: Tensor, logits: Mapping[str, Tensor], selection: Mapping[str, Score]
) -> bytes:
    """The file: ``labels`` and, for each method, ``METHOD.predicted``, ``METHOD.probability`` (of
    the predicted class) and ``METHOD.loss`` (in nats), each [rows] in the order of the test rows.

    Args:
        labels: Class indices of the rows, int64 [rows].
        logits: Method → logits [rows, classes].
        selection: Scores on *selection*, of methods whose score is nowhere else.
    """
    tensors = {"labels": labels.int()}
    for name, given in logits.items():
        log_probs = given.to(labels.device).log_softmax(-1)
        best = log_probs.max(-1)
        tensors[f"{name}.predicted"] = best.indices.int()
        tensors[f"{name}.probability"] = best.values.exp()
        tensors[f"{name}.loss"] = -log_probs.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    facts = {name: to_dict(score) for name, score in selection.items()}
    return tensorfile.save(tensors, {"selection": json.dumps(facts, sort_keys=True)})
