"""The experiments that come with the project can be begun as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import label_prompt_value
from mentor_service.profiles import PROFILES
from mentor_service.strategies import registry
from mentorgrad.cli.support.experiment_file import read_experiment
from mentorgrad.field_limits import check
from tests.support.deployment import ROOT
from trainer_service.experiments.experiment_checks import check_specs, doubts
from trainer_service.running.budget import takes_no_steps

FILES = sorted((ROOT / "experiments").glob("*.toml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_experiment_is_admitted_and_fair(file: Path) -> None:
    spec = read_experiment(file)
    assert spec.name == file.stem
    assert spec.description.endswith("?")
    check_specs(spec, lambda cell: "")
    assert list(doubts(spec)) == []
    for arm in spec.arms:
        if not arm.mentor.is_control:
            registry.create(arm.mentor.strategy, arm.mentor.options, PROFILES["small"], "model")


def test_the_language_model_alone_is_alone() -> None:
    spec = read_experiment(ROOT / "experiments/llm_alone.toml")
    assert takes_no_steps(spec.base)
    assert [arm.name for arm in spec.arms if "stages" in arm.changes] == ["none"]


def test_the_benchmark_takes_tasks_of_a_folder(tmp_path: Path) -> None:
    for name, pair in (("one", False), ("two", True)):
        (tmp_path / name).mkdir()
        card = f'{{"description": "which", "labels": ["a", "b"], "pair": {str(pair).lower()}}}'
        (tmp_path / name / "task.json").write_text(card)
        (tmp_path / name / "validation.jsonl").touch()
    full = check(label_prompt_value.experiment(tmp_path, (), quick=False))
    assert [task.name for task in full.tasks] == ["tickets", "one", "two"]
    assert len(full.seeds) == 10
    assert full.tasks[2] == replace(
        full.tasks[1],
        name="two",
        data=replace(
            full.tasks[1].data,
            train="two/train.jsonl",
            test="two/validation.jsonl",
            pair_field="text_pair",
        ),
    )
    quick = check(label_prompt_value.experiment(tmp_path, ("two",), quick=True))
    assert [task.name for task in quick.tasks] == ["tickets", "two"]
    assert {arm.name for arm in quick.arms} == set(label_prompt_value.QUICK_ARMS)
    with pytest.raises(FileNotFoundError):
        label_prompt_value.experiment(tmp_path / "one", (), quick=False)
