"""The built wheel without extras in an empty environment: light, whole, clear about extras."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from email import message_from_string
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(300)

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=240,
    )
    return next(target.glob("mentorgrad-*.whl"))


@pytest.fixture(scope="module")
def place(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel and what it requires."""
    place = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    python = place / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    install = [*pip, "install", "--quiet", "--no-deps", "--no-compile", str(wheel)]
    subprocess.run(install, check=True, timeout=240)
    (site,) = place.glob("lib/python*/site-packages")
    (metadata,) = site.glob("mentorgrad-*.dist-info/METADATA")
    for name in required(message_from_string(metadata.read_text()).get_all("Requires-Dist", [])):
        link(name, site)
    return place


def required(lines: list[str]) -> set[str]:
    """The distributions that a package requires, with theirs."""
    found: set[str] = set()
    waiting = [(Requirement(line), "") for line in lines]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        if requirement.name not in found:
            found.add(requirement.name)
            inner = [Requirement(line) for line in distribution(requirement.name).requires or ()]
            waiting += [(one, extra) for one in inner for extra in ("", *requirement.extras)]
    return found


def link(name: str, site: Path) -> None:
    """Links the files of a distribution that is installed here: pip would copy them, and the first
    import would compile them."""
    for file in distribution(name).files or ():
        if ".." not in file.parts and (source := Path(str(file.locate()))).exists():
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)


@pytest.fixture(scope="module")
def empty(place: Path) -> Run:
    """Runs a program of that environment."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(place / "bin" / program), *arguments],
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def test_the_wheel_carries_protos_migrations_and_services(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "mentorgrad/py.typed" in names
    protos = {path.name for path in (ROOT / "protos/mentorgrad/v1").glob("*.proto")}
    assert protos
    assert {f"mentorgrad/protos/mentorgrad/v1/{name}" for name in protos} <= names
    errors = {f"mentorgrad/protos/google/rpc/{name}.proto" for name in ("status", "error_details")}
    assert errors <= names
    migrations = [path.name for path in (ROOT / "run_store/migrations/versions").glob("*.py")]
    assert migrations
    assert {f"run_store/migrations/versions/{name}" for name in migrations} <= names
    assert "run_store/migrations/env.py" in names
    assert {"trainer_service/cli.py", "mentor_service/cli.py", "ui_service/cli.py"} <= names
    page = [path for path in (ROOT / "ui_service/static").rglob("*") if path.is_file()]
    assert {path.relative_to(ROOT).as_posix() for path in page} <= names
    assert not [name for name in names if name.startswith(("tests/", "bench/"))]


def test_the_command_helps(empty: Run) -> None:
    done = empty("mentorgrad", "serve", "--help")
    assert done.returncode == 0, done.stderr
    assert "Example: mentorgrad" in done.stdout


PROGRAM = """
import contextlib, importlib.util, io, json, sys
import mentorgrad

mentorgrad.Client, mentorgrad.RunSpec()
heavy = ("torch", "sqlalchemy", "llama_cpp", "transformers")
found = [name for name in heavy if importlib.util.find_spec(name)]
sys.path.insert(0, sys.argv[2])
import messages, own_loop, several, shortest, tune

project = [shortest.Shortest.name, messages.queued("mine").spec.labels["name"]]

from mentorgrad.cli.main import main

told = []
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            main()
        except SystemExit as left:
            told.append((left.code, out.getvalue(), error.getvalue()))
print(json.dumps({"heavy": found, "project": project, "told": told}))
"""
"""What a user's project and several commands do, in one process: the imports of each further one
would take a second of a core."""
LACKING = {
    ("serve", "trainer", "--listen", "127.0.0.1:0"): "trainer",
    ("serve", "mentor", "--help"): "mentor",
    ("serve", "ui"): "ui",
    ("runs", "list", "--store", "sqlite:///runs.sqlite"): "trainer",
    ("serve", "all"): "trainer,mentor",
    ("demo",): "demo",
    ("models", "pull", "hf:org/repo"): "hub",
    ("health",): "service",
}
"""A command → the extra that it asks for."""
NOBODY = "127.0.0.1:1"
LIST = ("runs", "list", "--server", NOBODY)
DOCTOR = ("doctor", "--server", NOBODY, "--mentor-server", NOBODY)


@pytest.fixture(scope="module")
def said(empty: Run) -> dict[str, Any]:
    """What `PROGRAM` says."""
    commands = json.dumps([*LACKING, LIST, DOCTOR])
    done = empty("python", "-c", PROGRAM, commands, str(ROOT / "tests/support/user_project"))
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_the_sdk_imports_without_what_services_need(said: dict[str, Any]) -> None:
    """A user's strategy and messages, too."""
    assert said["heavy"] == []
    assert said["project"] == ["shortest", "mine"]


def test_what_is_missing_is_one_line_with_the_pip_command(said: dict[str, Any]) -> None:
    *told, absent, doctor = said["told"]
    for (code, _, line), (arguments, extra) in zip(told, LACKING.items(), strict=True):
        assert code == 1, arguments
        assert len(line.splitlines()) == 1, line
        assert f"pip install 'mentorgrad[{extra}]'" in line
    code, _, line = absent
    assert code == 1
    assert len(line.splitlines()) == 1
    assert "mentorgrad serve all" in line
    code, text, line = doctor  # it is content
    assert code == 0, line
    assert "pip install 'mentorgrad[trainer]'" in text


@pytest.mark.campaign
def test_a_users_project_passes_mypy_strict_against_the_wheel(place: Path, tmp_path: Path) -> None:
    # A copy, so that neither this repository's settings nor its sources are found.
    project = shutil.copytree(ROOT / "tests/support/user_project", tmp_path / "project")
    (project / "mypy.ini").write_text(f"[mypy]\nstrict = True\ncache_dir = {tmp_path / 'cache'}\n")
    unset = {"PYTHONPATH", "MYPYPATH"}
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--python-executable", str(place / "bin" / "python"), "."],
        cwd=project,
        env={name: value for name, value in os.environ.items() if name not in unset},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    files = len(list(project.glob("*.py")))
    assert files > 4
    assert f"no issues found in {files} source files" in done.stdout
