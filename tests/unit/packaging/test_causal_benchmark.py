"""The benchmark of `causal_prompt` runs, on models of a few thousand weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench import causal_costs, causal_device, causal_prompt
from tests.support.numerics import CPU
from trainer_service.encoding.causal_model import CausalModel

TINY = causal_device.Shape(layers=2, hidden=32, heads=4, shared=2, inner=64, vocabulary=300)
LOAD = causal_device.Load(rows=2, text_tokens=5, prompt_tokens=2, points=2, matrix=64, times=1)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Of tiny products, several threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CausalModel:
    folder = tmp_path_factory.mktemp("random")
    causal_device.save_random(folder, TINY, CPU, torch.float32)
    return CausalModel(folder, CPU)


@pytest.mark.slow
def test_both_sides_have_equal_losses_and_gradients(model: CausalModel) -> None:
    pytest.importorskip("peft")
    found = causal_prompt.compared(model, rows=3, length=7, n_tokens=4, blocks=1)
    assert max(found["differences"].values()) < causal_prompt.TOLERANCE
    assert min(found[f"{name}_ratio"] for name in ("eval", "step", "memory")) > 0


@pytest.mark.slow
def test_costs_are_a_table_and_a_plot(model: CausalModel, tmp_path: Path) -> None:
    found = causal_costs.table(model, quick=True)["costs"]
    assert [(row["varied"], row["value"]) for row in found] == [
        ("text_tokens", 16),
        ("text_tokens", 64),
        ("labels of 2 tokens", 2),
    ]
    assert found[1]["step_seconds"] > 0
    pytest.importorskip("matplotlib")
    causal_costs.plot(found, tmp_path / "costs.png")
    assert (tmp_path / "costs.png").read_bytes().startswith(b"\x89PNG")


def test_the_share_of_the_matrix_rate_is_measured_on_any_device() -> None:
    found = causal_device.measured(CPU, {"tiny": TINY}, LOAD)
    assert found["teraflops"] > 0
    assert set(found["tiny"]) == {
        f"{work}_{what}"
        for work in ("evaluation", "step", "race")
        for what in ("share", "milliseconds")
    }


def test_the_multiplications_per_token_are_the_weights_of_the_layers(model: CausalModel) -> None:
    matrices = [
        weight.numel()
        for name, weight in model.network.named_parameters()
        if "layers" in name and weight.ndim == 2
    ]
    assert TINY.multiplications == sum(matrices)
