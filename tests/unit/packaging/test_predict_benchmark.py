"""The benchmark of predicting, on an encoder of a few thousand weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import predict
from mentorgrad.domain.objective import PromptTuning
from tests.support.tiny_models import make


@pytest.mark.slow
def test_both_sides_have_equal_probabilities(tmp_path: Path) -> None:
    spec = PromptTuning(str(make(tmp_path / "encoder", "bert")))
    found = predict.compared(spec, predict.PlainEncoder, rows=6, batch=4, blocks=1)
    assert found["difference"] < predict.TOLERANCE
    assert found["ratio"] > 0
