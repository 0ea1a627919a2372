"""Models whose files are not what they should be are refused before a run is queued."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mentorgrad.domain.objective import CausalPrompt, LabelPrompt, Lora, PromptTuning
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput
from tests.support import tiny_models
from trainer_service.control_plane.validation import validate_objective
from trainer_service.encoding.weight_files import weight_headers


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def _pointer(file: Path) -> None:
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 90868376\n")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_models.make(folder / "bert")
    tiny_models.make_causal(folder / "llama", bos=True)
    return folder


def refusal(objective: object, folder: Path) -> tuple[str, str]:
    """Field and description of the only violation."""
    with pytest.raises(InvalidInput) as caught:
        validate_objective(RunSpec(objective=objective), model_roots=[folder])  # type: ignore[arg-type]
    (violation,) = caught.value.violations
    assert caught.value.reason == "MODEL_UNSUITABLE"
    return violation.field.rpartition("spec.objective.")[2], violation.description


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_cut, "is damaged, or was not downloaded whole"),
        (lambda file: file.write_bytes(b""), "is damaged, or was not downloaded whole"),
        (lambda file: file.write_bytes(b"\xff" * 50), "is damaged, or was not downloaded whole"),
        (_pointer, "is a pointer of Git LFS, not the file itself; run: git lfs pull"),
    ],
    ids=["cut", "empty", "noise", "pointer"],
)
@pytest.mark.parametrize(
    ("kind", "objective", "field"),
    [
        ("bert", PromptTuning("changed"), "prompt_tuning.encoder"),
        ("llama", CausalPrompt("changed"), "causal_prompt.model"),
    ],
)
def test_weights_that_are_not_whole_are_refused_by_name(
    models: Path,
    tmp_path: Path,
    kind: str,
    objective: object,
    field: str,
    change: Callable[[Path], object],
    said: str,
) -> None:
    changed = shutil.copytree(models / kind, tmp_path / "changed")
    change(changed / "model.safetensors")
    assert refusal(objective, tmp_path) == (field, f"changed/model.safetensors {said}")


@pytest.mark.parametrize(
    ("objective", "name"),
    [(PromptTuning("llama"), "prompt_tuning"), (LabelPrompt("llama"), "label_prompt")],
)
def test_a_language_model_is_no_encoder(models: Path, objective: object, name: str) -> None:
    assert refusal(objective, models) == (
        f"{name}.encoder",
        "llama is a causal language model, not a text encoder: its architecture is "
        "LlamaForCausalLM",
    )
    assert refusal(Lora("llama"), models)[0] == "lora.encoder"


def test_headers_have_the_shapes_of_all_tensors(models: Path) -> None:
    (header,) = weight_headers(models / "bert")
    assert header["embeddings.word_embeddings.weight"]["shape"][1] == 16
    assert "__metadata__" not in header
