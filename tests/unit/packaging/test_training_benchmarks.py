"""The benchmarks of training, on an encoder of a few thousand weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench import scaling, step_limit, train_peft
from bench.prompt_steps import Shape
from mentorgrad.domain.objective import ModelDtype
from mentorgrad.domain.spec import DataFiles, Task
from tests.support import tiny_models
from tests.support.numerics import tiny_encoder

pytestmark = pytest.mark.slow

SMALL = Shape(rows=2, text_tokens=6, prompt_tokens=2)


def test_the_share_of_the_products_is_measured() -> None:
    found, config = step_limit.compared(tiny_encoder("bert"), SMALL, 1), tiny_encoder("bert").config
    tokens = SMALL.rows * (SMALL.text_tokens + SMALL.prompt_tokens)
    width, inner = config.hidden_size, config.intermediate_size
    weights = config.num_hidden_layers * (4 * width * width + 2 * width * inner)
    forward = 2 * tokens * weights
    # The backward pass has as many again; the classifier adds a little to both.
    assert 2 * forward < found["flops"] < 2.2 * forward
    assert found["share"] > 0


def test_costs_are_a_table_and_a_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "BASE", SMALL)
    rows = scaling.costs(tiny_encoder("bert"), scaling.QUICK)
    assert [(row["varied"], row["value"]) for row in rows] == [
        ("labels", 2),
        ("labels", 8),
        ("text_tokens", 6),
    ]
    assert rows[0]["seconds"] == rows[2]["seconds"] > 0, "it is the same case"
    pytest.importorskip("matplotlib")
    runs = [{"varied": "runs", "value": 2, "seconds": 0.2, "seconds_of_all": 0.1}]
    scaling.plot(rows + runs, tmp_path / "costs.png")
    assert (tmp_path / "costs.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.campaign
@pytest.mark.parametrize("name", train_peft.OBJECTIVES)
def test_both_sides_have_equal_losses(name: str, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    rows = [{"text": text, "label": int("good" in text)} for text in tiny_models.TEXTS]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = Task("own", data=DataFiles("rows.jsonl"), labels=("other", "good"))
    encoder = str(tiny_models.make(tmp_path / "encoder"))
    objective = replace(train_peft.OBJECTIVES[name], encoder=encoder)
    found = train_peft.compared(
        tmp_path, task, objective, steps=2, blocks=1, dtype=ModelDtype.BFLOAT16
    )
    assert found["loss_difference"] < train_peft.TOLERANCE
    assert min(found[name] for name in found if name.startswith("ratio")) > 0
