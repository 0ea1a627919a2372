"""`lora`: what PEFT makes of it, what it starts from, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mentorgrad.domain.objective import Lora
from mentorgrad.domain.spec import Capture, CaptureContent, MentorChoice, RunSpec
from mentorgrad.errors import InvalidInput
from tests.support import tiny_models
from tests.support.adapters import generator, logits_of, problem_of, somewhere, written
from tests.support.numerics import built_on, objective, tiny_encoder, tiny_task
from trainer_service.control_plane.spec_rules import spec_violations
from trainer_service.control_plane.validation import validate_objective
from trainer_service.objectives.peft_files import CONFIG_FILE, WEIGHTS_FILE
from trainer_service.protocols import Objective

# -- starts -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a run."""
    built = objective("lora")
    return written(tmp_path_factory.mktemp("runs") / "run", built, somewhere(built))


def copy_of(adapter: Path, tmp_path: Path, **config: Any) -> Path:
    """The adapter without the run, with another configuration."""
    folder = shutil.copytree(adapter, tmp_path / "other")
    (folder / "model.json").unlink()
    known = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps(known | config))
    return folder


def from_folder(folder: Path, **fields: Any) -> Objective:
    spec = Lora(rank=2, initial=f"peft:{folder}", encoder="hf:org/base")
    return built_on(tiny_encoder("bert"), replace(spec, **fields), tiny_task(), model_roots=None)


def test_another_run_is_a_start_with_its_head(adapter: Path) -> None:
    start = from_folder(adapter).language.initial(generator(5))
    torch.testing.assert_close(start, somewhere(objective("lora")))


def test_an_adapter_of_peft_is_a_start_whatever_rank_and_factor_are(
    adapter: Path, tmp_path: Path
) -> None:
    folder = copy_of(adapter, tmp_path, base_model_name_or_path="org/base")
    encoder, first = tiny_encoder("bert"), objective("lora")
    built = from_folder(folder, rank=5, alpha=3.0)
    start = built.language.initial(generator(5))
    parts = problem_of(built).layout.views(start)
    given = problem_of(first).layout.views(somewhere(first))
    head = parts["head.weight"]
    assert not torch.allclose(head, given["head.weight"]), "it is of another task"
    head.copy_(given["head.weight"])
    parts["head.bias"].copy_(given["head.bias"])
    torch.testing.assert_close(
        logits_of(built, start, encoder), logits_of(first, somewhere(first), encoder)
    )


def _pickled(folder: Path) -> None:
    (folder / WEIGHTS_FILE).rename(folder / "adapter_model.bin")


def _damaged(folder: Path) -> None:
    (folder / WEIGHTS_FILE).write_bytes(b"\x00" * 20)


@pytest.mark.parametrize(
    ("config", "change", "fields", "said"),
    [
        ({}, _pickled, {}, "pickled"),
        ({}, _damaged, {}, "no readable adapter_model.safetensors"),
        ({"base_model_name_or_path": "org/other"}, None, {}, "is an adapter of org/other, not of"),
        ({"peft_type": "LOHA"}, None, {}, "type LOHA; needed: LORA"),
        ({"use_dora": True}, None, {}, "use_dora"),
        ({"lora_alpha": "much"}, None, {}, "is damaged"),
        ({"alpha_pattern": {"(": 1}}, None, {}, "is damaged"),
        ({}, None, {"rank": 1}, "has the rank 2"),
        ({}, None, {"target_modules": ("key",)}, "which target_modules does not name"),
        ({}, lambda folder: (folder / CONFIG_FILE).unlink(), {}, "no valid adapter_config.json"),
    ],
)
def test_what_cannot_be_a_start_is_refused_by_name(
    adapter: Path,
    tmp_path: Path,
    config: dict[str, Any],
    change: Callable[[Path], object] | None,
    fields: dict[str, Any],
    said: str,
) -> None:
    folder = copy_of(adapter, tmp_path, **config)
    if change is not None:
        change(folder)
    with pytest.raises(InvalidInput) as caught:
        from_folder(folder, **fields)
    (violation,) = caught.value.violations
    assert violation.field == "spec.objective.lora.initial"
    assert said in violation.description


def test_a_run_of_another_model_is_no_start(adapter: Path) -> None:
    spec = Lora(rank=2, initial=f"peft:{adapter}", target_modules=("query", "value"))
    with pytest.raises(InvalidInput) as caught:
        built_on(tiny_encoder("electra"), spec, tiny_task(), model_roots=None)
    assert caught.value.reason == "MODEL_CHANGED"


# -- validation -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.make(tmp_path_factory.mktemp("models") / "base")


def refused(spec: RunSpec) -> tuple[str, str]:
    """Field and description of the only violation."""
    with pytest.raises(InvalidInput) as caught:
        validate_objective(spec, model_roots=None)
    (violation,) = caught.value.violations
    return violation.field, violation.description


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"target_modules": ("query", "gate_proj")}, "target_modules", "no linear layer gate_proj"),
        ({"target_modules": ("pooler.dense",)}, "target_modules", "no linear layer pooler.dense"),
        ({"rank": 17}, "rank", "17 is beyond the rank of encoder.layer.0.attention.self.query"),
        ({"initial": "some words"}, "initial", "must be empty, or peft:"),
        ({"initial": "peft:/nowhere"}, "initial", "no model at /nowhere"),
    ],
)
def test_a_spec_that_does_not_fit_the_encoder_is_refused(
    base: Path, fields: dict[str, Any], field: str, said: str
) -> None:
    where, description = refused(RunSpec(objective=Lora(encoder=str(base), **fields)))
    assert where == f"spec.objective.lora.{field}"
    assert said in description


def test_an_adapter_that_is_more_than_factors_is_refused_before_a_run(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    folder = copy_of(adapter, tmp_path, use_dora=True, modules_to_save=["dense"], bias="all")
    where, said = refused(RunSpec(objective=Lora(encoder=str(base), initial=f"peft:{folder}")))
    assert where == "spec.objective.lora.initial"
    assert "uses use_dora, modules_to_save, bias, which lora does not have" in said


def test_an_encoder_without_tokenizer_is_refused(base: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(base, tmp_path / "base")
    (folder / "tokenizer.json").unlink()
    where, description = refused(RunSpec(objective=Lora(encoder=str(folder))))
    assert where == "spec.objective.lora.encoder"
    assert "tokenizer.json is missing" in description


@pytest.mark.parametrize(
    "mentor",
    [
        MentorChoice("random_tokens"),
        MentorChoice("hint_tokens"),
        MentorChoice("description"),
    ],
)
def test_a_control_of_words_is_refused_by_name(mentor: MentorChoice) -> None:
    (violation, *_) = spec_violations(RunSpec(objective=Lora(), mentor=mentor))
    assert violation.field == "spec.mentor.name"
    for usable in ("perturb", "random_init", "recombine"):
        assert not list(spec_violations(RunSpec(objective=Lora(), mentor=MentorChoice(usable))))


def test_a_parameter_that_is_too_large_to_record_is_said_and_one_for_checkpoints_refused(
    monkeypatch: pytest.MonkeyPatch, base: Path
) -> None:
    warned: list[str] = []  # the texts are too long, too
    spec = RunSpec(objective=Lora(encoder=str(base)))
    monkeypatch.setattr("trainer_service.objectives.adapters.checks.MAX_SEGMENT_BYTES", 100)
    validate_objective(spec, model_roots=None, warn=warned.append)
    assert "no raw parameters" in warned[-1]
    quiet = replace(spec, capture=Capture(CaptureContent.TEXT))
    validate_objective(quiet, model_roots=None, warn=warned.append)
    assert len(warned) == 3
    assert "no raw parameters" not in warned[-1]
    monkeypatch.setattr("trainer_service.objectives.adapters.checks.MAX_BLOB_BYTES", 1000)
    where, description = refused(spec)
    assert where == "spec.objective.lora.rank"
    assert "a checkpoint holds" in description
