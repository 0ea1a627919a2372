"""The benchmark of predicting, on an encoder of a few thousand weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import predict
from tests.support.tiny_models import make


@pytest.mark.slow
def test_both_sides_have_equal_probabilities(tmp_path: Path) -> None:
    encoder = make(tmp_path / "encoder", "bert")
    found = predict.compared(rows=6, batch=4, blocks=1, encoder=str(encoder))
    assert found["difference"] < predict.TOLERANCE
    assert found["ratio"] > 0
