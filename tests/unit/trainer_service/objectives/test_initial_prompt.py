"""Prompts that start from another run, or from PEFT."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from mentorgrad.domain.objective import CausalPrompt, LabelPrompt, PromptTuning
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput
from tests.support.adapters import generator, somewhere, written
from tests.support.numerics import (
    CAUSAL,
    built_on,
    causal_task,
    objective,
    tiny_causal,
    tiny_encoder,
    tiny_task,
)
from trainer_service.control_plane.validation import validate_objective
from trainer_service.protocols import Objective
from trainer_service.tasks.data import TaskData


def started(spec: Any, task: TaskData | None = None) -> torch.Tensor:
    causal = isinstance(spec, CausalPrompt)
    under = tiny_causal() if causal else tiny_encoder("bert")
    made = built_on(
        under, spec, task or (causal_task() if causal else tiny_task()), model_roots=None
    )
    return made.language.initial(generator(7))


def run_of(tmp_path: Path, name: str) -> tuple[Path, torch.Tensor, Objective]:
    built = objective(name)
    point = somewhere(built)
    return written(tmp_path / "run", built, point), point, built


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "fields"),
    [
        ("prompt_tuning", PromptTuning, {}),
        ("label_prompt_tiny", LabelPrompt, {}),
        ("label_prompt_per_class", LabelPrompt, {"per_class": True}),
        (next(iter(CAUSAL)), CausalPrompt, {}),
    ],
)
def test_another_run_is_a_start(
    tmp_path: Path, name: str, kind: Any, fields: dict[str, Any]
) -> None:
    folder, point, _ = run_of(tmp_path, name)
    n_tokens = 4 if name == "label_prompt_tiny" else 3
    spec = kind(n_tokens=n_tokens, initial_text=f"peft:{folder}", **fields)
    found = started(spec)
    if kind is PromptTuning:  # with its head; the rest of the last row is never read
        found[-1, 2:] = point[-1, 2:]
    torch.testing.assert_close(found, point)


def test_a_prompt_of_peft_for_another_task_begins_a_longer_one(tmp_path: Path) -> None:
    folder, point, _ = run_of(tmp_path, "prompt_tuning")
    (folder / "model.json").unlink()
    (folder / "prompt.safetensors").unlink()
    spec = LabelPrompt(n_tokens=5, initial_text=f"peft:{folder}")
    found = started(spec)
    torch.testing.assert_close(found[:3], point[:3, : found.shape[1]])
    with pytest.raises(InvalidInput, match=r"has 3 tokens; at most 2 \(n_tokens\)"):
        started(LabelPrompt(n_tokens=2, initial_text=f"peft:{folder}"))


def test_a_shorter_prompt_stands_where_words_do(tmp_path: Path) -> None:
    folder, point, _ = run_of(tmp_path, next(iter(CAUSAL)))
    found = started(CausalPrompt(n_tokens=5, initial_text=f"peft:{folder}"))
    torch.testing.assert_close(found[2:], point)
    fillers = tiny_causal().tokens.vectors[[tiny_causal().tokens.filler_id] * 2]
    torch.testing.assert_close(found[:2], fillers)


def test_a_prompt_of_another_objective_comes_without_a_head(tmp_path: Path) -> None:
    folder, point, _ = run_of(tmp_path, "label_prompt_tiny")
    found = started(PromptTuning(n_tokens=4, initial_text=f"peft:{folder}"))
    torch.testing.assert_close(found[:4, : point.shape[1]], point)


def test_a_prompt_of_another_model_or_kind_is_refused(tmp_path: Path) -> None:
    folder, _, _ = run_of(tmp_path, next(iter(CAUSAL)))
    with pytest.raises(InvalidInput) as caught:
        started(PromptTuning(initial_text=f"peft:{folder}"))
    assert caught.value.reason == "MODEL_CHANGED"
    other = written(tmp_path / "lora", objective("lora"), somewhere(objective("lora")))
    with pytest.raises(InvalidInput, match="type LORA; needed: PROMPT_TUNING"):
        started(PromptTuning(initial_text=f"peft:{other}"))
    shutil.rmtree(other)
    spec = RunSpec(objective=LabelPrompt(initial_text=f"peft:{other}"))
    with pytest.raises(InvalidInput) as caught:
        validate_objective(spec, model_roots=None)
    (violation,) = caught.value.violations
    assert violation.field == "spec.objective.label_prompt.initial_text"
