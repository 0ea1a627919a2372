"""What a run's methods predict for its test rows, as a file and read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mentorgrad.domain.run import Score
from mentorgrad.errors import DataLoss
from mentorgrad.tune.predictions import RowPredictions, read_predictions
from trainer_service.objectives.predictions_file import predictions_bytes

LABELS = torch.tensor([0, 1, 1])
LOGITS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 3.0], [0.0, 4.0, 0.0]])
WORDS = Score(loss=0.5, accuracy=0.75, rows=8)


def test_what_was_written_is_read() -> None:
    data = predictions_bytes(LABELS, {"prompt": LOGITS, "zero.shot": LOGITS * 2}, {"words": WORDS})
    found = read_predictions(data)
    assert found.labels.tolist() == LABELS.tolist()
    assert set(found.methods) == {"prompt", "zero.shot"}
    assert found.selection == {"words": WORDS}
    expected = RowPredictions.of_shares(found.labels, LOGITS.softmax(-1).double().numpy())
    prompt = found.methods["prompt"]
    assert prompt.predicted.tolist() == expected.predicted.tolist() == [0, 2, 1]
    np.testing.assert_allclose(prompt.probabilities, expected.probabilities, rtol=1e-6)
    np.testing.assert_allclose(prompt.losses, expected.losses, rtol=1e-6)


def test_a_damaged_file_is_refused() -> None:
    data = predictions_bytes(LABELS, {"prompt": LOGITS}, {})
    for damaged in (b"", data[:40], data[:-4], data.replace(b"prompt.loss", b"prompt.lost")):
        with pytest.raises(DataLoss, match=r"predictions\.safetensors is damaged"):
            read_predictions(damaged)
