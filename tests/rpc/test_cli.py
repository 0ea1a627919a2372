"""The command line against the real servicers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mentorgrad.cli.main import app
from mentorgrad.client import BackgroundLoop
from mentorgrad.model.run import RunState
from mentorgrad.model.spec import Function
from run_store.memory_store import MemoryRunStore
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
def store() -> Iterator[MemoryRunStore]:
    opened = MemoryRunStore()
    yield opened
    opened.close()


@pytest.fixture
def command(store: MemoryRunStore) -> Iterator[CommandLine]:
    """Servers live on the clients' own loop: grpc's asyncio has one poller a process."""
    loop = BackgroundLoop.acquire()
    context = served(store)
    _, address = loop.run(context.__aenter__())
    yield CommandLine(address)
    loop.run(context.__aexit__(None, None, None))
    loop.release()


def test_run_detached_creates_what_was_asked_for(
    command: CommandLine, store: MemoryRunStore
) -> None:
    made = command.json(
        *("run", "--detach", "--function", "levy", "--dimensions", "3", "--seed", "4"),
        *("--label", "arm=none", "--request-id", "mine"),
    )
    assert made["created"] is True
    run = store.get_run(made["run"]["run_id"])
    assert run.spec.objective == Function("levy", 3)
    assert (run.spec.seed, run.spec.labels, run.request_id) == (4, {"arm": "none"}, "mine")


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


def test_run_watches_to_the_end(command: CommandLine, store: MemoryRunStore) -> None:
    def work() -> None:
        while not (queued := store.list_runs().runs):
            pass
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


def test_watch_as_json_is_one_event_a_line(command: CommandLine, store: MemoryRunStore) -> None:
    run_id = finished_run(store)
    result = command("runs", "watch", run_id, "--json", "--after-seq", "2")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["seq"] for event in events] == [
        event.seq for event in store.events(run_id) if event.seq > 2
    ]


def test_watching_a_run_that_fails_leaves_with_1(
    command: CommandLine, store: MemoryRunStore
) -> None:
    run_id = queue_run(store)
    store.transition(run_id, RunState.FAILED, "no such model")
    result = command("runs", "watch", run_id)
    assert result.exit_code == 1
    assert "state: failed (no such model)" in result.stdout


def test_steering(command: CommandLine, store: MemoryRunStore) -> None:
    run_id = queue_run(store)
    assert command.json("runs", "pause", run_id)["state"] == "paused"
    assert command.json("runs", "resume", run_id)["state"] == "queued"
    assert "it is cancelled" in command("runs", "cancel", run_id).stdout
    again = command("runs", "cancel", run_id)
    assert again.exit_code == 1
    assert len(again.stderr.splitlines()) == 1
    assert command.json("runs", "delete", run_id, "--yes") == {"deleted": run_id}
    gone = command("runs", "show", run_id)
    assert gone.exit_code == 1
    assert run_id in gone.stderr


def test_reading(command: CommandLine, store: MemoryRunStore) -> None:
    run_id, other = finished_run(store), queue_run(store)
    listed = command.json("runs", "list", "--state", "succeeded")
    assert [run["run_id"] for run in listed["runs"]] == [run_id]
    shown = command.json("runs", "show", run_id)
    assert [item["name"] for item in shown["artifacts"]] == ["prompt.safetensors"]
    compared = command("runs", "compare", run_id, other)
    assert compared.exit_code == 0
    assert "state\tsucceeded\tqueued" in compared.stdout


def test_files(command: CommandLine, store: MemoryRunStore, tmp_path: Path) -> None:
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
