from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from mentorgrad.cli.main import app
from mentorgrad.installed import pip_line

Invoke = Callable[..., Any]

NOBODY = "127.0.0.1:1"


def _paths(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from _paths(inner, (*path, name))


@pytest.mark.slow
@pytest.mark.parametrize("path", list(_paths(typer.main.get_command(app))), ids=" ".join)
def test_every_command_has_help_with_an_example(invoke: Invoke, path: tuple[str, ...]) -> None:
    result = invoke(*path, "--help")
    assert result.exit_code == 0
    assert f"Example: mentorgrad {' '.join(path)}".rstrip() in result.stdout
    assert "Undefined" not in result.stdout  # a default that pydantic does not have


def test_help_breaks_where_the_terminal_does(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert (
        'written to a folder that "mentorgrad predict" reads. The same command goes on'
        in invoke("tune", "--help").stdout
    )
    assert "in a store. Flags" not in invoke("serve", "trainer", "--help").stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("runs", "list"),
        ("runs", "show", "x"),
        ("runs", "watch", "x"),
        ("runs", "cancel", "x"),
        ("runs", "pause", "x"),
        ("runs", "resume", "x"),
        ("runs", "delete", "x", "--yes"),
        ("runs", "compare", "x"),
        ("runs", "download", "x"),
        ("runs", "plot", "x"),
        ("run",),
        ("experiment", "report", "x"),
        ("experiment", "list"),
        ("experiment", "show", "x"),
        ("experiment", "cancel", "x"),
    ],
)
def test_without_a_service_one_line_says_how_to_start_one(
    invoke: Invoke, arguments: tuple[str, ...]
) -> None:
    result = invoke(*arguments, "--server", NOBODY)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert f"no trainer service answers at {NOBODY}" in result.stderr
    assert "mentorgrad serve all" in result.stderr


def test_a_failed_export_leaves_no_file(invoke: Invoke, tmp_path: Path) -> None:
    target = tmp_path / "run.jsonl"
    result = invoke("runs", "export", "x", "--server", NOBODY, "-o", str(target))
    assert result.exit_code == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_without_a_mentor_one_line_says_how_to_start_one(invoke: Invoke) -> None:
    result = invoke("mentor", "info", "--mentor-server", NOBODY)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "mentorgrad serve mentor" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--steps", "-1"), "stages.steps: must be at least 0"),
        (("--set", "optimizer.lr=1"), "optimizer.lr: is not known here"),
        (("--set", "optimizer"), "--set: must be path=value"),
        (("--set", "seed=many"), "seed: must be an integer"),
        (("--set", "seed.x=1", "--seed", "2"), "seed: is a single value"),
        (("--label", "arm"), "--label: must be NAME=VALUE"),
        (("--objective", "guess"), "objective.guess: is not known here"),
        (("--spec", "no.toml"), "no.toml cannot be read"),
        (("--server", "somewhere"), "--server: must be HOST:PORT"),
        (("--learning-rate", "nan"), "optimizer.learning_rate: must be a finite number"),
        (("--stepz", "3"), "--stepz"),
        (("--steps", "few"), "--steps"),
        (
            ("--objective", "label_prompt", "--model", "x"),
            "--model: is not an option of label_prompt",
        ),
    ],
)
def test_bad_input_to_run_is_one_line(
    invoke: Invoke, arguments: tuple[str, ...], message: str
) -> None:
    result = invoke("run", "--server", NOBODY, *arguments)
    assert result.exit_code == 2, result.stderr
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr


def test_bad_files_are_named_with_their_line(invoke: Invoke, tmp_path: Path) -> None:
    question = tmp_path / "question.json"
    question.write_text('{"open":\n {"strategy" 3}}')
    result = invoke("mentor", "ask", str(question), "--mentor-server", NOBODY)
    assert result.exit_code == 2
    assert f"{question}:2:" in result.stderr

    question.write_text('{"request": {"count": 0}}')
    result = invoke("mentor", "ask", str(question), "--mentor-server", NOBODY)
    assert result.exit_code == 2
    assert "request.count: must be at least 1" in result.stderr

    log = tmp_path / "run.jsonl"
    log.write_text('{"run_id": "x"}\n')
    result = invoke("runs", "import", str(log), "--server", NOBODY)
    assert result.exit_code == 2
    assert f"{log}:1: seq: is missing" in result.stderr


def test_deleting_asks_first_and_names_the_whole_id(
    invoke: Invoke, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mentorgrad.cli.commands import lifecycle
    from mentorgrad.cli.support.service_access import open_reader

    monkeypatch.setattr(lifecycle, "open_client", lambda server: open_reader(server, store_url))
    result = invoke("runs", "delete", "to", input="n\n")
    assert result.exit_code == 1
    assert "permanently delete run toy-run?" in result.stderr
    assert "aborted" in result.stderr


def test_an_unknown_command_is_one_line_with_a_guess(invoke: Invoke) -> None:
    result = invoke("runs", "lst")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "Did you mean 'list'?" in result.stderr


def test_version(invoke: Invoke) -> None:
    assert invoke("--version").stdout == "mentorgrad 0.1.0\n"


def test_models_list_names_the_embedded_defaults(invoke: Invoke) -> None:
    listed = json.loads(invoke("models", "list", "--json").stdout)["models"]
    assert {item["role"] for item in listed} == {"encoder", "mentor"}
    assert all(item["installed"] == (item["path"] is not None) for item in listed)


def test_models_pull_refuses_a_path(invoke: Invoke) -> None:
    result = invoke("models", "pull", "some/path")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.slow
def test_doctor_finds_the_installation_well_and_services_absent(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mentorgrad.cli.commands import doctor

    monkeypatch.setattr(
        doctor, "_devices", lambda: doctor.Finding("devices", doctor.Status.OK, "cpu")
    )
    result = invoke("doctor", "--json", "--server", NOBODY, "--mentor-server", NOBODY)
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["ok"] is True
    checks = {check["name"]: check for check in report["checks"]}
    assert checks["grpcio"]["health"] == checks["model tuned"]["health"] == "ok"
    absent = checks[f"trainer at {NOBODY}"]
    assert absent["health"] == "warning"
    assert "mentorgrad serve trainer" in absent["remedy"]
    assert all(check["remedy"] for check in report["checks"] if check["health"] != "ok")


@pytest.mark.parametrize(
    ("others", "said", "is_well"),
    [
        ([], "start one with: mentorgrad serve mentor", False),
        (["far", "near"], "the trainer reaches far, near, so none is needed", True),
    ],
)
def test_doctor_misses_no_mentor_here_if_the_trainer_reaches_one(
    others: list[str], said: str, is_well: bool
) -> None:
    from mentorgrad.cli.commands.doctor import Status, _mentor

    found = _mentor(NOBODY, others)
    assert said in found.remedy + found.detail
    assert (found.health is Status.OK) == is_well


@pytest.mark.parametrize(("allowed", "advised"), [(1_024, True), (1 << 20, False)])
def test_doctor_says_how_many_files_a_service_needs(
    allowed: int, advised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    from mentorgrad.cli.commands import doctor

    monkeypatch.setattr(resource, "getrlimit", lambda _: (allowed, 4_096))
    (found,) = doctor._open_files()
    assert ("512 connections" in found.detail) is advised
    assert ("as root: ulimit -n 16384" in found.remedy) is advised


@pytest.mark.slow
def test_doctor_says_where_the_default_model_is_kept_for_tuning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mentorgrad.cli.commands import doctor
    from mentorgrad.cli.commands.doctor import Status, _tuned_model
    from mentorgrad.model_refs import DEFAULT_MENTOR_MODEL, resolve
    from trainer_service.encoding.gguf_files import kept_folder, write_list

    def here(code: str, *arguments: str) -> Any:
        """Another test lets a child process do it."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.suppress(ValueError):
            monkeypatch.setattr(sys, "argv", ["-c", *arguments])
            exec(code, {})
        return json.loads(printed.getvalue())

    monkeypatch.setattr(doctor, "_child", here)
    monkeypatch.setenv("MENTORGRAD_TRAINER_CACHE_DIR", str(tmp_path))
    (before,) = _tuned_model()
    assert "its first run of causal_prompt dequantises it" in before.detail
    file = resolve(DEFAULT_MENTOR_MODEL)
    folder = kept_folder(file, tmp_path)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(3 << 20))
    write_list(folder, file)
    (after,) = _tuned_model()
    assert after.detail == f"{DEFAULT_MENTOR_MODEL}: dequantised in {folder}, 3 MiB"
    assert before.health is after.health is Status.OK
    monkeypatch.setenv("MENTORGRAD_TRAINER_THREADS", "many")
    (broken,) = _tuned_model()
    assert (broken.health, broken.remedy) == (Status.WARNING, "correct them")


@pytest.mark.slow
def test_doctor_leaves_with_1_when_something_required_is_broken(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mentorgrad.cli.commands import doctor

    monkeypatch.setattr(doctor, "_REQUIRED", ("grpcio", "no-such-package"))
    monkeypatch.setattr(doctor, "_child", lambda *_: [])
    result = invoke("doctor", "--json", "--server", NOBODY, "--mentor-server", NOBODY)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["ok"] is False


@pytest.mark.parametrize(("status", "code"), [("SERVING", 0), ("NOT_SERVING", 1)])
def test_health_says_the_same_in_json(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, status: str, code: int
) -> None:
    from mentorgrad.cli.commands import health

    async def answer(server: str) -> str:
        assert server == NOBODY
        return status

    monkeypatch.setattr(health, "_ask", answer)
    text = invoke("health", "--server", NOBODY)
    assert (text.exit_code, text.stdout) == (code, f"{status}\n")
    told = invoke("health", "--server", NOBODY, "--json")
    assert (told.exit_code, json.loads(told.stdout)) == (code, {"status": status})


def test_a_missing_extra_is_one_line_with_the_pip_command(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.metadata import EntryPoint

    def absent(group: str, name: str) -> tuple[EntryPoint, ...]:
        return (EntryPoint(name, "no_such_package.cli:app", group),)

    monkeypatch.setattr("importlib.metadata.entry_points", absent)
    result = invoke("runs", "list", "--store", "sqlite:///x.sqlite")
    assert result.exit_code == 1
    assert result.stderr == (
        f"error: no_such_package is not installed; run: {pip_line('trainer')}\n"
    )


def test_an_argument_that_is_no_text_is_an_error_in_a_line(
    invoke: Callable[..., Any], store_url: str
) -> None:
    for where in (("--store", store_url), ("--server", NOBODY)):
        result = invoke("runs", "show", "gr\udcc3\udcb6sse", *where)
        assert result.exit_code in (1, 2)
        assert result.stderr.count("\n") == 1
    assert "LC_ALL" in result.stderr


@pytest.mark.parametrize("command", ["models", "tasks"])
@pytest.mark.parametrize("proxy", ["socks://me:pa55word@127.0.0.1:1", "socks5://127.0.0.1:1"])
def test_a_proxy_that_cannot_be_used_is_an_error_in_a_line(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, command: str, proxy: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    error = ValueError(f"Unknown scheme for proxy URL {proxy!r}")

    def refused(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", refused)
    result = invoke(command, "pull", "hf:a/b")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "cannot reach the hub to get hf:a/b: Unknown scheme for proxy" in result.stderr
    assert "pa55word" not in result.stderr


def test_a_home_folder_behind_an_equals_sign_is_expanded(
    invoke: Callable[..., Any], store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    result = invoke("runs", "export", "toy-run", "--store", store_url, "--output=~/log.jsonl")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "log.jsonl").is_file()
