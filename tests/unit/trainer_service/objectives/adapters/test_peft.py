"""Adapters in PEFT: the logits of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mentorgrad.domain.objective import Lora, PrefixTuning, Readout, Xgblora
from tests.support import tiny_models
from tests.support.adapters import generator, logits_of, peft_logits, somewhere, written
from tests.support.numerics import CPU, built_on, tiny_task
from trainer_service.encoding.encoders import TextEncoder


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("bert", Lora(rank=3, alpha=5.0)),
        pytest.param(
            *("roberta", Lora(rank=1, target_modules=("dense",), readout=Readout.MEAN)),
            marks=pytest.mark.campaign,
        ),
        pytest.param("distilbert", Lora(rank=2), marks=pytest.mark.campaign),
        ("bert2", Xgblora(boosters=5, layers=1, target_modules=("query", "dense"))),
        ("bert", PrefixTuning(n_tokens=3)),
        pytest.param(
            "roberta", PrefixTuning(n_tokens=2, readout=Readout.MEAN), marks=pytest.mark.campaign
        ),
        pytest.param("electra", PrefixTuning(n_tokens=1), marks=pytest.mark.campaign),
    ],
)
def test_peft_loads_the_adapter_with_equal_logits(tmp_path: Path, kind: str, spec: Any) -> None:
    deep = {"num_hidden_layers": 2} if kind.endswith("2") else {}
    base = tiny_models.make(tmp_path / "base", kind.removesuffix("2"), **deep)
    encoder = TextEncoder(base, CPU)
    built = built_on(encoder, spec, tiny_task())
    point = somewhere(built)
    expected = logits_of(built, point, encoder)
    plain = logits_of(built, built.language.initial(generator()), encoder)
    assert float((expected - plain).abs().max()) > 1e-2
    found = peft_logits(written(tmp_path / "run", built, point), base, encoder, spec.readout)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
