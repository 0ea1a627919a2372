"""Adapters of encoders in other number formats: the model is frozen in it, the adapter float32."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mentorgrad.domain.objective import ModelDtype
from mentorgrad.domain.spec import RunSpec, Task
from tests.support import tiny_models
from tests.support.adapters import somewhere, written
from tests.support.numerics import ADAPTERS, CPU, built_on, tiny_encoder, tiny_task
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.objectives.build import build_objective
from trainer_service.objectives.peft_files import WEIGHTS_FILE
from trainer_service.prediction.predictor import load
from trainer_service.prediction.result_folder import read_result
from trainer_service.protocols import Objective
from trainer_service.tasks.data import Split

NAMES = pytest.mark.parametrize("name", ["prefix_tuning", "lora", "xgblora"])


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    return TextEncoder(tiny_models.make(tmp_path_factory.mktemp("narrow")), CPU, dtype="bfloat16")


def said(folder: Path, name: str, dtype: str) -> Objective:
    """The objective with a dtype in its spec, and the encoder in this folder."""
    spec = replace(ADAPTERS[name], encoder="tiny", dtype=ModelDtype(dtype))
    run = RunSpec(spec, Task(shots=2, selection_rows=2, test_rows=2))
    return build_objective(run, device=CPU, model_roots=[folder])


@NAMES
def test_in_bfloat16_it_has_nearly_the_gradients_of_float32(name: str, narrow: TextEncoder) -> None:
    pair = [
        built_on(under, ADAPTERS[name], tiny_task()) for under in (narrow, tiny_encoder("bert"))
    ]
    point = somewhere(pair[1])[None]
    (loss, slope), (exact_loss, exact_slope) = (
        built.problem.gradients(point, torch.arange(16)) for built in pair
    )
    assert (loss.dtype, slope.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(loss, exact_loss, atol=2e-2, rtol=0)
    assert not torch.equal(loss, exact_loss)
    assert float((slope - exact_slope).norm() / exact_slope.norm()) < 0.1


@NAMES
def test_the_result_says_its_dtype_and_predicts_in_it(name: str, tmp_path: Path) -> None:
    tiny_models.make(tmp_path / "tiny")
    built = said(tmp_path, name, "bfloat16")
    point = somewhere(built)
    folder = written(tmp_path / "run", built, point)
    assert {part.dtype for part in load_file(folder / WEIGHTS_FILE).values()} == {torch.float32}
    task = built.problem.task
    assert task is not None
    with load(folder, model_roots=[tmp_path], cache_dir=tmp_path / "cache") as predictor:
        found = predictor.predict_proba([row.text for row in task.test])
    results = built.problem.results(point[None], Split.TEST)
    expected = [found[i, row.label] for i, row in enumerate(task.test)]
    exact = results.losses[0].double()
    torch.testing.assert_close(-torch.tensor(expected).log(), exact, atol=2e-2, rtol=0)
    assert read_result(folder).document["dtype"] == "bfloat16"


@pytest.mark.parametrize(
    ("dtype", "remedy"),
    [
        ("float16", "set spec.objective.lora.dtype to bfloat16 or float32"),
        ("bfloat16", "set spec.objective.lora.dtype to float32"),
        ("float32", "try another start or seed"),
    ],
)
def test_the_dtype_is_named_if_the_start_is_not_finite(
    dtype: str, remedy: str, tmp_path: Path
) -> None:
    tiny_models.make(tmp_path / "tiny")
    assert said(tmp_path, "lora", dtype).problem.start_remedy.endswith(remedy)
