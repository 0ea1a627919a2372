"""Adapters of causal language models: the logits of PEFT, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mentorgrad.domain.objective import Calibration, Lora, PrefixTuning, Xgblora
from mentorgrad.domain.spec import Optimizer, RunSpec
from mentorgrad.errors import InvalidInput
from tests.support import tiny_models
from tests.support.adapters import generator, somewhere, written
from tests.support.numerics import (
    ADAPTED_CAUSAL,
    CPU,
    NESTED,
    built_on,
    causal_task,
    objective,
    tiny_causal,
    tune,
)
from trainer_service.control_plane.validation import validate_objective
from trainer_service.encoding.causal_model import CausalModel
from trainer_service.objectives.adapters.language_model_problem import (
    LanguageModelAdapterProblem,
)
from trainer_service.protocols import Objective
from trainer_service.tasks.data import Split


def problem_of(built: Objective) -> LanguageModelAdapterProblem:
    assert isinstance(built.problem, LanguageModelAdapterProblem)
    return built.problem


def peft_scores(folder: Path, base: Path, model: CausalModel, built: Objective) -> Tensor:
    """Logits of the labels of four test rows, row by row, as PEFT computes them from the files."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    about = json.loads((folder / "model.json").read_text())
    line = about["template"].removesuffix("{label}").rstrip(" ")
    labels = [tokens[0] for tokens in about["label_tokens"]]
    adapted = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager"), folder
    ).eval()
    assert adapted.peft_config["default"].task_type == "CAUSAL_LM"
    found = []
    for row in problem_of(built).task.test[:4]:
        inputs = model.tokenizer(line.replace("{text}", row.text), return_tensors="pt")
        inputs.pop("token_type_ids", None)
        with torch.no_grad():
            found.append(adapted(**inputs).logits[0, -1, labels])
    return torch.stack(found)


OPT = {"word_embed_proj_dim": 16, "ffn_dim": 32, "num_key_value_heads": 2}  # without groups


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
@pytest.mark.parametrize(
    ("kind", "fields", "spec"),
    [
        ("llama", {}, Lora(rank=3, alpha=5.0)),
        pytest.param("gpt2", {}, Lora(rank=2), marks=pytest.mark.campaign),
        ("qwen2", {}, PrefixTuning(n_tokens=3)),
        pytest.param(
            *("opt", OPT, Xgblora(boosters=5, layers=1, target_modules=("q_proj", "fc1"))),
            marks=pytest.mark.campaign,
        ),
        pytest.param("opt", OPT, PrefixTuning(n_tokens=2), marks=pytest.mark.campaign),
        pytest.param("gpt2", {}, PrefixTuning(n_tokens=2), marks=pytest.mark.campaign),
        pytest.param("qwen3", {"head_dim": 12}, PrefixTuning(), marks=pytest.mark.campaign),
        pytest.param("opt", OPT, Lora(rank=2), marks=pytest.mark.campaign),
    ],
)
def test_peft_loads_the_adapter_with_equal_logits(
    tmp_path: Path, kind: str, fields: dict[str, Any], spec: Any
) -> None:
    base = tiny_models.make_causal(tmp_path / "base", kind, **fields)
    model = CausalModel(base, CPU)
    built = built_on(model, replace(spec, model=str(base)), causal_task())
    point, rows = somewhere(built), torch.arange(4)
    expected = problem_of(built).logits(point[None], Split.TEST, rows)[0]
    plain = problem_of(built).logits(built.language.initial(generator())[None], Split.TEST, rows)
    assert float((expected - plain[0]).abs().max()) > 1e-2
    found = peft_scores(written(tmp_path / "run", built, point), base, model, built)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_without_an_effect_it_is_the_model_as_it_is() -> None:
    """B = 0 at the start; the zero-shot baseline passes the same inputs."""
    built = objective("lora_causal")
    start = built.language.initial(generator())
    log_probs, _ = problem_of(built).tested(start, Split.TEST)
    torch.testing.assert_close(
        log_probs, problem_of(built).untuned_logits(Split.TEST), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("optimizer", ["adamw", "zo_sgd"])
def test_steps_move_it_with_and_without_gradients(optimizer: str) -> None:
    built = objective("prefix_tuning_causal")
    rows = torch.arange(built.problem.size(Split.TRAIN))
    start, *_, end = tune(built, Optimizer(optimizer, 0.05, batch_size=48), 3, seed=0)
    losses = built.problem.losses(torch.stack([start, end]), rows)
    assert float(losses[1]) < float(losses[0])


def test_several_adapters_and_labels_of_several_tokens_pass_together() -> None:
    spec = replace(ADAPTED_CAUSAL["prefix_tuning_causal"], calibration=Calibration.NONE)
    built = built_on(tiny_causal(), spec, causal_task(NESTED))
    many, rows = torch.stack([somewhere(built), 0.5 * somewhere(built)]), torch.arange(5)
    together = problem_of(built).logits(many, Split.TRAIN, rows)
    for index in range(2):
        for row in range(5):
            alone = problem_of(built).logits(many[index][None], Split.TRAIN, rows[row : row + 1])
            torch.testing.assert_close(alone[0, 0], together[index, row], atol=1e-5, rtol=1e-5)


def test_another_adapter_is_a_start(tmp_path: Path) -> None:
    for name in ("lora_causal", "prefix_tuning_causal"):
        first = objective(name)
        folder = written(tmp_path / name, first, somewhere(first))
        field = "initial" if name == "lora_causal" else "initial_text"
        spec = replace(ADAPTED_CAUSAL[name], **{field: f"peft:{folder}"})
        built = built_on(tiny_causal(), spec, causal_task(), model_roots=None)
        torch.testing.assert_close(built.language.initial(generator(3)), somewhere(first))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    tiny_models.make_causal(root / "tiny")
    tiny_models.make(root / "encoder")
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["lora_causal", pytest.param("prefix_tuning_causal", marks=pytest.mark.campaign)]
)
def test_a_model_in_16_bits_takes_an_adapter_in_32(models: Path, name: str) -> None:
    model = CausalModel(models / "tiny", CPU, "bfloat16")
    built = built_on(model, ADAPTED_CAUSAL[name], causal_task())
    point, rows = somewhere(built), torch.arange(8)
    (loss,), (gradient,) = built.problem.gradients(point[None], rows)
    wide = built_on(CausalModel(models / "tiny", CPU), ADAPTED_CAUSAL[name], causal_task())
    assert gradient.dtype == torch.float32
    assert bool(gradient.abs().sum() > 0)
    assert float(loss) == pytest.approx(float(wide.problem.losses(point[None], rows)), rel=0.1)


@pytest.mark.parametrize(
    ("spec", "field", "said"),
    [
        (Lora(model="encoder"), "model", "is not a causal language model"),
        (Lora(model="tiny", template="{prompt} {text} {label}"), "template", "an adapter is no"),
        (Lora(model="tiny", template="{text}"), "template", "{label} exactly once"),
        (Lora(model="tiny", target_modules=("lm_head",)), "target_modules", "no linear layer"),
        (Lora(model="tiny", rank=500), "rank", "beyond the rank"),
        (Lora(model="tiny", max_length=4), "max_length", "max_length allows 4"),
        (Xgblora(model="tiny", layers=3), "layers", "must be at most 2"),
        (PrefixTuning(model="tiny", n_tokens=125), "n_tokens", "gives, with the template,"),
        (PrefixTuning(model="tiny", n_tokens=3, initial_text="a b c d e f"), "initial_text", "3"),
    ],
)
def test_what_cannot_be_adapted_is_refused_by_name(
    models: Path, spec: Any, field: str, said: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        validate_objective(RunSpec(spec), model_roots=[models])
    first = caught.value.violations[0]
    assert first.field.endswith(f".{field}")
    assert said in first.description
