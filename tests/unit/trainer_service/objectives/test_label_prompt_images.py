"""What is said of a run on images before it is queued, and what of an image that fails later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mentorgrad.domain.objective import (
    CausalPrompt,
    LabelPrompt,
    Lora,
    MultipleChoice,
    PrefixTuning,
    PromptTuning,
    ServedPrompt,
    Xgblora,
)
from mentorgrad.domain.spec import DataFiles, MentorChoice, RunSpec, Task
from mentorgrad.errors import InvalidInput
from tests.support.numerics import CPU, built_on, image_task, tiny_clip
from tests.support.tiny_models import make, make_clip
from trainer_service.control_plane.validation import validate_objective
from trainer_service.objectives.build import build_objective
from trainer_service.prediction import service
from trainer_service.prediction.predictor import load
from trainer_service.prediction.settings import PredictorSettings
from trainer_service.tasks.data import Split

WORDS = ("good", "bad")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_clip(folder / "clip")
    make(folder / "bert")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for label, word in enumerate(WORDS):
        (tmp_path / "images" / word).mkdir(parents=True)
        for number in range(4):
            image = Image.new("RGB", (8, 8), (40 * number, 200 * label, 90))
            image.save(tmp_path / "images" / word / f"{number}.png")
    return tmp_path


def spec(objective: Any, **fields: Any) -> RunSpec:
    task = Task("own", DataFiles("images"), "what is shown", WORDS, shots=2)
    return RunSpec(objective=objective, task=task, **fields)


CLIP = spec(LabelPrompt("clip", n_tokens=3))
TEXTS = replace(CLIP, task=Task())


def said(of: RunSpec, root: Path, models: Path) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        validate_objective(of, data_roots=[root], model_roots=[models], warn=lambda text: None)
    return caught.value


def test_a_good_spec_passes(root: Path, models: Path) -> None:
    digest = validate_objective(CLIP, data_roots=[root], model_roots=[models])
    built = build_objective(CLIP, device=CPU, data_roots=[root], model_roots=[models])
    assert built.problem.task is not None
    assert built.problem.task.digest == digest
    assert "an image belongs to the class" in built.card.proposal
    assert built.problem.feature == "the embedding of the image, of norm 1"


@pytest.mark.parametrize(
    ("of", "field", "words"),
    [
        (TEXTS, "encoder", "clip is CLIP, which is for images; use a text encoder"),
        (spec(LabelPrompt("bert")), "encoder", "bert (bert) is no encoder of images; use CLIP"),
        (spec(LabelPrompt("clip", n_tokens=22)), "n_tokens", "the encoder allows 24"),
        (spec(LabelPrompt("clip", 1, initial_text="good rain")), "initial_text", "2 tokens"),
    ],
)
def test_encoder_and_rows_must_fit(
    of: RunSpec, field: str, words: str, root: Path, models: Path
) -> None:
    error = said(of, root, models)
    assert error.violations[0].field == f"spec.objective.label_prompt.{field}"
    assert words in error.violations[0].description


def test_without_rows_either_encoder_passes(tmp_path: Path, models: Path) -> None:
    for name in ("clip", "bert"):
        fields = {item.field for item in said(spec(LabelPrompt(name)), tmp_path, models).violations}
        assert fields == {"spec.task.data.train"}


@pytest.mark.parametrize(
    "objective",
    [
        *(kind("bert") for kind in (PromptTuning, MultipleChoice, Lora, PrefixTuning, Xgblora)),
        CausalPrompt(),
        ServedPrompt(),
    ],
    ids=lambda objective: type(objective).__name__,
)
def test_other_objectives_take_no_images(objective: Any, root: Path, models: Path) -> None:
    found = {
        item.field: item.description for item in said(spec(objective), root, models).violations
    }
    assert "is for texts" in found["spec.task"]


@pytest.mark.parametrize(
    "kind", [PromptTuning, MultipleChoice, Lora, PrefixTuning, Xgblora, CausalPrompt]
)
def test_other_objectives_take_no_clip(kind: Any, root: Path, models: Path) -> None:
    found = {
        item.field: item.description
        for item in said(replace(TEXTS, objective=kind("clip")), root, models).violations
    }
    (described,) = (found[field] for field in found if field.endswith((".encoder", ".model")))
    assert "clip" in described
    assert "for images" in described or "is not a causal language model" in described


def test_unusable_images_are_named_before_the_run(root: Path, models: Path) -> None:
    for number in range(4):
        (root / "images" / "bad" / f"{number}.png").unlink()
        Image.new("CMYK", (4, 4 + number)).save(root / "images" / "bad" / f"{number}.jpg")
    of = replace(CLIP, task=replace(CLIP.task, shots=3))
    error = said(of, root, models)
    assert error.reason == "IMAGE_UNUSABLE"
    assert error.violations[0].field == "spec.task"
    assert "bad/" in error.message
    assert ".jpg has colours in CMYK" in error.message
    assert "(4 images in all)" in error.message


def test_a_mentor_is_not_shown_images(root: Path, models: Path) -> None:
    of = replace(CLIP, mentor=MentorChoice("random_tokens", exemplars=2))
    assert said(of, root, models).violations[0].field == "spec.mentor.exemplars"


def damage(file: Path) -> None:
    Image.effect_noise((32, 32), 90.0).save(file)
    file.write_bytes(file.read_bytes()[:-200])


def test_an_image_that_fails_when_it_is_decoded_is_named(root: Path, models: Path) -> None:
    damage(root / "images" / "good" / "0.png")
    of = replace(CLIP, task=replace(CLIP.task, shots=3))
    validate_objective(of, data_roots=[root], model_roots=[models])
    with pytest.raises(InvalidInput) as caught:
        build_objective(of, device=CPU, data_roots=[root], model_roots=[models])
    assert caught.value.reason == "IMAGE_UNUSABLE"
    assert "good/0.png is damaged" in caught.value.message


def test_without_tuning_classes_have_the_prompt_of_the_task() -> None:
    import torch

    clip, task = (
        tiny_clip(CPU),
        replace(image_task(), untuned_prompt="a good {label}, seen in the rain."),
    )
    built = built_on(clip, LabelPrompt(n_tokens=3), task)
    texts = ["a good sun, seen in the rain.", "a good rain, seen in the rain."]
    cosines = built.problem.features(Split.TEST) @ clip.encode(texts).T
    torch.testing.assert_close(built.problem.untuned_logits(Split.TEST), cosines / clip.temperature)


# -- predicting -------------------------------------------------------------------------------


@pytest.fixture
def result(root: Path, models: Path) -> Path:
    import torch

    built = build_objective(CLIP, device=CPU, data_roots=[root], model_roots=[models])
    folder = root / "result"
    folder.mkdir()
    for name, content in built.export(built.language.initial(torch.Generator())).items():
        (folder / name).write_bytes(content)
    return folder


def test_predictions_are_of_paths(result: Path, root: Path, models: Path, tmp_path: Path) -> None:
    damage(tmp_path / "damaged.png")
    good = str(root / "images" / "good" / "0.png")
    with load(result, model=str(models / "clip")) as predictor:
        assert predictor.takes_images
        found = predictor.predict_proba([good, good])
        assert found.shape == (2, 2)
        assert (found[0] == found[1]).all()
        assert predictor.predict_proba([]).shape == (0, 2)
        wrong = [
            ("absent.png", "absent.png: cannot be read"),
            (str(tmp_path), "cannot be read"),
            (str(tmp_path / "damaged.png"), "damaged.png is damaged"),
            (str(models / "clip" / "config.json"), "is no image"),
        ]
        for path, words in wrong:
            with pytest.raises(InvalidInput, match=words) as caught:
                predictor.predict_proba([good, path])
            assert caught.value.violations[0].field == "texts[1]"


async def test_a_service_is_not_sent_paths(
    result: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = PredictorSettings(result=result, model=str(models / "clip"), threads=1)
    announced: list[Callable[[], None]] = []
    monkeypatch.setattr(service, "announce", announced.append)
    with pytest.raises(InvalidInput, match="classifies images"):
        await service.serve(settings)
    assert not announced
