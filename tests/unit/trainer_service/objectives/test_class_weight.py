"""Balanced classes in the loss of gradient steps, and in nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mentorgrad.domain.objective import CausalPrompt, Function, ServedPrompt
from mentorgrad.domain.spec import ClassWeight, DataFiles, RunSpec, Task
from mentorgrad.errors import InvalidInput
from tests.support.numerics import CPU
from tests.support.tiny_models import make_causal
from trainer_service.control_plane.validation import validate_objective
from trainer_service.objectives.build import build_objective
from trainer_service.objectives.classification import ClassificationProblem
from trainer_service.tasks.data import Split

TASK = Task("own", DataFiles("rows.jsonl", "rest.jsonl"), "what it is", ("a", "b", "c"), shots=0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    make_causal(folder / "llama")
    labels = [0] * 6 + [1] * 2 + [2]
    for name, words in (("rows", "film"), ("rest", "movie")):
        rows = [{"text": f"{words} {n}", "label": label} for n, label in enumerate(labels)]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def problem(root: Path, how: ClassWeight) -> ClassificationProblem:
    spec = RunSpec(CausalPrompt("llama", n_tokens=2), replace(TASK, class_weight=how))
    built = build_objective(spec, device=CPU, data_roots=[root], model_roots=[root]).problem
    assert isinstance(built, ClassificationProblem)
    return built


def test_every_class_counts_alike_in_the_loss_of_gradient_steps(root: Path) -> None:
    plain, balanced = (problem(root, how) for how in ClassWeight)
    points = torch.randn(2, *plain.shape, generator=torch.Generator().manual_seed(0)) * plain.unit
    rows = torch.arange(9)
    losses = torch.stack([plain.losses(points, row[None]) for row in rows], dim=1)
    labels = plain.labels[Split.TRAIN]
    expected = torch.stack([losses[:, labels == label].mean(1) for label in range(3)]).mean(0)
    torch.testing.assert_close(balanced.losses(points, rows), expected)
    torch.testing.assert_close(balanced.losses(points, rows[8:]), losses[:, 8] * 9 / 3)
    found, slopes = balanced.gradients(points, rows)
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(slopes, plain.gradients(points, rows)[1])
    assert balanced.score(points) == plain.score(points)


def test_without_gradient_steps_there_is_nothing_to_weight() -> None:
    weighted = Task(class_weight=ClassWeight.BALANCED)
    for objective in (ServedPrompt(), Function()):
        with pytest.raises(InvalidInput) as caught:
            validate_objective(RunSpec(objective, weighted))
        assert "spec.task.class_weight" in [one.field for one in caught.value.violations]
