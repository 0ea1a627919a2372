"""The published experiments: admitted as they are, and one step of each in small."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mentor_service.profiles import PROFILES
from mentor_service.strategies import registry
from mentorgrad.cli.support.experiment_file import read_experiment, read_published
from mentorgrad.cli.support.experiment_scale import TINY, TINY_CLIP, scaled
from mentorgrad.cli.support.options import Scale
from mentorgrad.domain.experiment import ExperimentSpec
from mentorgrad.domain.spec import RunSpec
from mentorgrad.named_tasks import published_tasks
from tests.support import tiny_models
from tests.support.deployment import ROOT
from tests.support.digit_images import write_digits
from tests.support.numerics import CPU, tune
from trainer_service.encoding import tiny_clip
from trainer_service.encoding.clip import ClipEncoder
from trainer_service.experiments.expansion import Expansion, distinct_places
from trainer_service.experiments.experiment_checks import check_specs, doubts
from trainer_service.objectives.build import BuildInputs, build_objective
from trainer_service.tasks.data import Split

FILES = sorted((ROOT / "experiments/published").glob("*.toml"))
_OTHER_IMAGES = (
    *("dtd", "fgvc_aircraft", "food101", "oxford_flowers", "oxford_pets", "stanford_cars"),
    *("sun397", "ucf101"),
)
ALIKE = {f"coop_{task}" for task in _OTHER_IMAGES}
"""Experiments that differ from others in their images alone."""
each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Field of an objective, or `TINY_CLIP` → a random model."""
    folder = tmp_path_factory.mktemp("models")
    encoder, model, clip = folder / "encoder", folder / "model", folder / "clip"
    return {
        TINY_CLIP: str(tiny_clip.make(clip)),
        "encoder": str(tiny_models.make(encoder, "roberta")),
        "model": str(tiny_models.make_causal(model)),
    }


@pytest.fixture(scope="module", autouse=True)
def _images_share_an_encoder() -> Iterator[None]:
    """A dozen experiments read the same one, and change nothing in it."""
    read = functools.cache(lambda reference: ClipEncoder(Path(reference), CPU))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BuildInputs, "image_encoder", lambda _, reference: read(reference))
        yield


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a folder per published task."""
    root = tmp_path_factory.mktemp("tasks")
    columns = [
        "text",
        "text_pair",
        "word",
        "question",
        "choice1",
        "choice2",
        "span1_text",
        "span2_text",
    ]
    for name, task in published_tasks().items():
        if task.has_images:
            classes = task.folders or ("this", "that")
            write_digits(root / name / "train", 0, 8, classes)
            write_digits(root / name / "test", 8, 2, classes)
            continue
        (root / name).mkdir()
        for split, count in (("train", 80), ("validation", 20)):
            rows = [
                {c: f"{c} {split} {n} good film" for c in columns} | {"label": n % len(task.labels)}
                for n in range(count)
            ]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (root / name / f"{split}.jsonl").write_text(text)
    return root


@pytest.fixture(scope="module")
def done() -> set[str]:
    """What was tried: experiments share tasks, objectives and optimizers."""
    return set()


@each_file
def test_a_published_experiment_is_admitted_and_fair(file: Path) -> None:
    for spec in (read_experiment(file), scaled(read_experiment(file), Scale.TINY)):
        assert spec.name.removesuffix("_tiny") == file.stem
        assert spec.description.endswith("?")
        check_specs(spec, lambda cell: "")
        assert list(doubts(spec)) == []
        assert {task.name for task in spec.tasks} <= set(published_tasks())
        for arm in spec.arms:
            if not arm.mentor.is_control:
                registry.create(arm.mentor.strategy, arm.mentor.options, PROFILES["small"], "m")
    arms, names = {arm.name for arm in spec.arms}, {task.name for task in spec.tasks}
    for figure in read_published(file):
        assert figure.arm in arms
        assert figure.task in names


@pytest.mark.slow
@pytest.mark.parametrize(
    "file",
    [
        pytest.param(file, id=file.stem, marks=pytest.mark.campaign if file.stem in ALIKE else ())
        for file in FILES
    ],
)
def test_a_step_of_each_run_in_small(
    file: Path, models: dict[str, str], tasks: Path, done: set[str]
) -> None:
    """Of each run whose task, or whose objective and optimizer, none before it had."""
    torch.set_num_threads(1)
    for run in runs_of(scaled(read_experiment(file), Scale.TINY)):
        named = {name: getattr(run.objective, name, None) for name in ("encoder", "model")}
        fields = {
            name: models.get(reference, models[name])
            for name, reference in named.items()
            if reference
        }
        objective: Any = replace(run.objective, **fields)  # type: ignore[arg-type]
        kinds = {repr(run.task), repr((objective, run.optimizer))}
        if kinds <= done:
            continue
        done |= kinds
        spec = replace(run, objective=objective)
        built = build_objective(spec, device=CPU, data_roots=[tasks], model_roots=None)
        start, end = tune(built, spec.optimizer, 1, seed=0)
        assert not torch.equal(start, end)
        score = built.problem.test(end)
        assert score is not None
        assert score.rows <= TINY["task"]["test_rows"] * len(built.problem.task.labels)  # type: ignore[union-attr]
        assert built.problem.size(Split.TRAIN) <= 4 * len(built.problem.task.labels)  # type: ignore[union-attr]


def runs_of(spec: ExperimentSpec) -> list[RunSpec]:
    expansion = Expansion("", spec)
    return [expansion.run_spec(place) for place in distinct_places(spec)]
