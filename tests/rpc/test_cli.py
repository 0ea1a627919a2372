"""The command line against the real servicers."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from typer.testing import CliRunner

from mentorgrad.cli.commands import doctor
from mentorgrad.cli.main import app
from mentorgrad.client import BackgroundLoop
from mentorgrad.domain.objective import CausalPrompt, Function
from mentorgrad.domain.run import RunState
from run_store.temporary_store import TemporaryRunStore
from tests.rpc.test_mentor_client import scripted
from tests.support.quick_runs import end_runs
from tests.support.served_runs import Worker, finished_run, queue_run, served


class CommandLine:
    """Runs commands with ``--server`` filled in."""

    def __init__(self, address: str) -> None:
        self.address = address

    def __call__(self, *arguments: str, **options: Any) -> Any:
        return CliRunner().invoke(app, [*arguments, "--server", self.address], **options)

    def json(self, *arguments: str) -> Any:
        result = self(*arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)


@pytest.fixture
def store() -> Iterator[TemporaryRunStore]:
    opened = TemporaryRunStore()
    yield opened
    opened.close()


@pytest.fixture
def command(store: TemporaryRunStore) -> Iterator[CommandLine]:
    """Servers live on the clients' own loop: grpc's asyncio has one poller a process."""
    loop = BackgroundLoop.acquire()
    context = served(store)
    _, address = loop.run(context.__aenter__())
    yield CommandLine(address)
    loop.run(context.__aexit__(None, None, None))
    loop.release()


def test_what_a_trainer_offers(command: CommandLine) -> None:
    shown = command("trainer", "info")
    assert shown.exit_code == 0, shown.stderr
    rows = dict(line.split("\t", 1) for line in shown.stdout.splitlines())
    assert (rows["largest upload"], rows["queued runs"]) == ("1 MiB", "0 of at most 2")
    assert (rows["absent"].split("\t")[0], rows["perturb"]) == ("no", "yes\tcontrol")
    assert command.json("trainer", "info")["upload_limit_bytes"] == 1 << 20
    assert "uploads up to 1 MiB" in doctor._trainer(command.address)[0].detail


def test_a_service_of_the_other_kind_is_said_to_be_one(command: CommandLine) -> None:
    asked = CliRunner().invoke(app, ["mentor", "info", "--mentor-server", command.address])
    assert asked.exit_code == 1
    assert asked.stderr == (
        f"error: {command.address} is no mentor service but a trainer service; give the mentor's "
        "address with --mentor-server\n"
    )

    predicted = CliRunner().invoke(app, ["predict", "--server", command.address, "-"])
    assert "no predict service but a trainer service; give the predict" in predicted.stderr

    loop = BackgroundLoop.acquire()
    server, address = loop.run(scripted())
    try:
        predicted = CliRunner().invoke(app, ["predict", "--server", address, "-"])
        assert "no predict service but a mentor service" in predicted.stderr
        for words in (("list",), ("watch", "some-run"), ("show", "some-run")):
            asked = CliRunner().invoke(app, ["runs", *words, "--server", address])
            assert asked.exit_code == 1
            assert asked.stderr == (
                f"error: {address} is no trainer service but a mentor service; give the trainer's "
                "address with --server\n"
            )
    finally:
        loop.run(server.stop())
        loop.release()


def test_a_server_of_something_else_is_said_to_be_none(command: CommandLine) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        asked = CliRunner().invoke(app, ["experiment", "list", "--server", address])
    finally:
        server.stop(None)
    assert asked.exit_code == 1
    assert asked.stderr == (
        f"error: {address} is no trainer service; give the trainer's address with --server\n"
    )


def test_run_detached_creates_what_was_asked_for(
    command: CommandLine, store: TemporaryRunStore
) -> None:
    made = command.json(
        *("run", "--detach", "--function", "levy", "--dimensions", "3", "--seed", "4"),
        *("--label", "arm=none", "--request-id", "mine"),
    )
    assert made["created"] is True
    run = store.get_run(made["run"]["run_id"])
    assert run.spec.objective == Function("levy", 3)
    assert (run.spec.seed, run.spec.labels, run.request_id) == (4, {"arm": "none"}, "mine")


def test_naming_a_language_model_names_the_objective(
    command: CommandLine, store: TemporaryRunStore
) -> None:
    for objective in ((), ("--objective", "causal_prompt")):
        made = command.json("run", "--detach", *objective, "--model", "hf:org/model")
        run = store.get_run(made["run"]["run_id"])
        assert run.spec.objective == CausalPrompt("hf:org/model")


def test_run_says_a_warning_beside_the_answer(command: CommandLine) -> None:
    result = command("run", "--detach", "--mentor", "absent")
    assert result.exit_code == 0
    assert "warning: the mentor 'absent' does not answer" in result.stderr
    assert len(result.stdout.splitlines()) == 1


def test_what_the_server_refuses_is_one_line(command: CommandLine) -> None:
    result = command("run", "--mentor", "who")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: spec.mentor.name: 'who' is not known here; known: ")
    assert len(result.stderr.splitlines()) == 1


def test_run_watches_to_the_end(command: CommandLine, store: TemporaryRunStore) -> None:
    def work() -> None:
        while not (queued := store.list_runs().runs):
            time.sleep(0.01)
        worker = Worker(store, queued[0].run_id)
        worker.segment(0, 1)
        worker.finish()

    worker = threading.Thread(target=work)
    worker.start()
    result = command("run")
    worker.join()
    assert result.exit_code == 0, result.stderr
    assert "  step 3: train loss 0.3333" in result.stdout
    assert "succeeded: selection loss 0.2500, 0 restarts" in result.stdout
    run_id = store.list_runs().runs[0].run_id
    assert f"mentorgrad runs show {run_id} --server {command.address}" in result.stdout


def test_watch_as_json_is_one_event_a_line(command: CommandLine, store: TemporaryRunStore) -> None:
    run_id = finished_run(store)
    result = command("runs", "watch", run_id, "--json", "--after-seq", "2")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["seq"] for event in events] == [
        event.seq for event in store.events(run_id) if event.seq > 2
    ]


def test_a_shell_completes_ids_with_those_of_the_service(
    command: CommandLine, store: TemporaryRunStore
) -> None:
    run_id = queue_run(store)
    words = ["mentorgrad", "runs", "watch", "--server", command.address, run_id[:5]]
    asked = CliRunner().invoke(
        app,
        [],
        prog_name="mentorgrad",
        env={
            "_MENTORGRAD_COMPLETE": "complete_zsh",
            "_TYPER_COMPLETE_ARGS": " ".join(words),
        },
    )
    assert (asked.exit_code, asked.stderr) == (0, "")
    assert f'"{run_id}":"queued toy"' in asked.stdout


def test_watching_a_run_that_fails_leaves_with_1(
    command: CommandLine, store: TemporaryRunStore
) -> None:
    run_id = queue_run(store)
    store.transition(run_id, RunState.FAILED, "no such model")
    result = command("runs", "watch", run_id)
    assert result.exit_code == 1
    assert "state: failed (no such model)" in result.stdout


def test_labels_and_notes(command: CommandLine, store: TemporaryRunStore) -> None:
    run_id = queue_run(store)
    tagged = command("runs", "tag", run_id, "team=vision", "draft=yes")
    assert tagged.stdout.rstrip().endswith("draft=yes, team=vision")
    assert "draft" not in command.json("runs", "tag", run_id, "--remove", "draft")["labels"]
    assert "written" in command("runs", "note", run_id, "-", input="two\nlines\n").stdout
    assert store.get_run(run_id).note == "two\nlines"
    shown = command("runs", "show", run_id).stdout
    assert "team=vision" in shown
    assert "two lines" in shown
    assert "has no note" in command("runs", "note", run_id, "").stdout


def test_steering(command: CommandLine, store: TemporaryRunStore) -> None:
    run_id = queue_run(store)
    assert command.json("runs", "pause", run_id)["state"] == "paused"
    assert command.json("runs", "resume", run_id)["state"] == "queued"
    assert "current state: cancelled" in command("runs", "cancel", run_id).stdout
    again = command("runs", "cancel", run_id)
    assert again.exit_code == 1
    assert len(again.stderr.splitlines()) == 1
    assert command.json("runs", "delete", run_id, "--yes") == {"deleted": run_id}
    gone = command("runs", "show", run_id)
    assert gone.exit_code == 1
    assert run_id in gone.stderr


def test_reading(command: CommandLine, store: TemporaryRunStore) -> None:
    run_id, other = finished_run(store), queue_run(store)
    listed = command.json("runs", "list", "--state", "succeeded")
    assert [run["run_id"] for run in listed["runs"]] == [run_id]
    shown = command.json("runs", "show", run_id)
    assert [item["name"] for item in shown["artifacts"]] == ["prompt.safetensors"]
    listed = command.json("runs", "trajectory", run_id, "--points", "4", "--thinning", "min_max")
    steps = [item["step"] for item in listed["snapshots"]]
    assert steps == sorted(set(steps))
    assert 0 < len(steps) <= 4
    part = command("runs", "trajectory", run_id, "--first", str(steps[-1]))
    assert len(part.stdout.splitlines()) == 2  # the columns and one snapshot
    assert command("runs", "trajectory", run_id, "--first", "3", "--last", "2").exit_code == 2
    compared = command("runs", "compare", run_id, other)
    assert compared.exit_code == 0
    assert "state\tsucceeded\tqueued" in compared.stdout


def test_files(command: CommandLine, store: TemporaryRunStore, tmp_path: Path) -> None:
    run_id = finished_run(store)
    before = list(store.events(run_id))
    prompt, log = tmp_path / "p.safetensors", tmp_path / "run.jsonl"
    command.json("runs", "download", run_id, "-o", str(prompt))
    assert prompt.read_bytes() == store.read_artifact(run_id, "prompt.safetensors")
    command.json("runs", "export", run_id, "-o", str(log))
    store.delete(run_id)
    assert command.json("runs", "import", str(log))["run_id"] == run_id
    assert list(store.events(run_id)) == before
    drawn = command.json("runs", "plot", run_id, "-o", str(tmp_path / "loss.png"))
    assert Path(drawn["file"]).read_bytes().startswith(b"\x89PNG")


# -- experiments ------------------------------------------------------------------------------

EXPERIMENT = """
name = "which"
description = "what is asked"
tasks = ["toy"]
seeds = 2
[base]
objective = "function"
budget = {gradient_steps = 200}
[[arms]]
name = "none"
[[arms]]
name = "noise"
mentor = "perturb"
"""


@pytest.fixture
def experiment(tmp_path: Path) -> str:
    file = tmp_path / "experiment.toml"
    file.write_text(EXPERIMENT)
    return str(file)


@pytest.fixture
def workers(store: TemporaryRunStore) -> Iterator[None]:
    """End what is queued, until the test ends."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.02):
            end_runs(store, lambda run: None if run.spec.seed == 5 else 1.0)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.mark.campaign
@pytest.mark.usefixtures("workers")
def test_an_experiment_is_run_and_reported_and_run_again_is_the_same(
    command: CommandLine, experiment: str, store: TemporaryRunStore, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    result = command("experiment", "run", experiment, "--html", str(page))
    assert result.exit_code == 0, result.stderr
    assert ": 4 runs\n" in result.stdout
    assert "4/4 runs, all ended" in result.stdout
    assert "what is asked" in result.stdout
    assert page.read_text().startswith("<!doctype html>")

    report = command.json("experiment", "run", experiment)
    assert report["complete"]
    assert len(report["cells"]) == 4
    assert len(store.list_experiments().experiments) == 1
    name = report["experiment_id"]
    assert command.json("experiment", "report", name) == report
    assert command("experiment", "report", name, "--markdown").stdout.startswith("# which")
    (listed,) = command.json("experiment", "list")["experiments"]
    assert (listed["experiment_id"], listed["state"]) == (name, "finished")
    assert f"{name}\twhich\tfinished\t4\t0\t4\t" in command("experiment", "list").stdout
    shown = command("experiment", "show", name)
    assert "runs\t4/4 ended, all ended" in shown.stdout
    assert f"--label experiment={name}" in shown.stderr
    assert command.json("experiment", "show", name)["progress"]["succeeded"] == 4
    anew = command.json("experiment", "run", experiment, "--request-id", "anew")
    assert anew["experiment_id"] != name


def test_an_experiment_is_begun_and_cancelled(command: CommandLine, experiment: str) -> None:
    made = command.json("experiment", "run", experiment, "--detach")
    name = made["experiment"]["experiment_id"]
    assert made["created"]
    assert command("experiment", "run", experiment, "--detach").stdout == f"{name}\n"
    assert command("experiment", "cancel", name).stdout == f"{name} is cancelled\n"
    result = command("experiment", "cancel", name)
    assert result.exit_code == 1
    assert "cancelled and cannot become cancelled" in result.stderr
    result = command("experiment", "run", experiment)
    assert result.exit_code == 1
    assert "run it again with --request-id NAME" in result.stdout
    assert "the experiment cancelled: cancelled on request" in result.stderr


def test_an_experiment_takes_its_data_files_with_it(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spec.toml").write_text(
        'seeds = 1\narms = [{name = "a"}, {name = "b"}]\n[[tasks]]\nname = "own"\n'
        'description = "what it is"\nlabels = ["x", "y"]\ndata.train = "own.csv"\n'
    )
    run = ("experiment", "run", "spec.toml", "--upload", "--detach")
    assert "own.csv cannot be read: no such file" in command(*run).stderr
    Path("own.csv").write_text("text,label\n" + "a,0\nb,1\n" * 8)
    made = command.json(*run)
    digest = hashlib.sha256(Path("own.csv").read_bytes()).hexdigest()
    assert made["experiment"]["spec"]["tasks"][0]["data"]["train"] == f"upload:{digest}"
    assert not command.json(*run)["created"]
    Path("own.csv").write_text("text,label\n" + "c,0\nd,1\n" * 8)
    assert command.json(*run)["created"]


def test_ctrl_c_stops_the_watching_and_never_the_experiment(
    command: CommandLine, experiment: str, monkeypatch: pytest.MonkeyPatch, store: TemporaryRunStore
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mentorgrad.cli.support.experiment_watching.time.sleep", interrupted)
    result = command("experiment", "run", experiment)
    assert result.exit_code == 130
    (name,) = store.running_experiments()
    assert f"mentorgrad experiment report {name} --server {command.address}" in result.stderr


def test_a_wrong_change_is_one_line_with_its_path(command: CommandLine, experiment: str) -> None:
    file = Path(experiment)
    file.write_text(EXPERIMENT + "changes.optimizer.lerning_rate = 0.1\n")
    result = command("experiment", "run", experiment)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "spec.arms[1].changes.optimizer.lerning_rate: is not known here" in result.stderr
