"""Runs that are executed by `mentorgrad serve worker`, which only reaches the store. In a campaign
the workers are processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from mentorgrad import Client, RunSpec
from mentorgrad.cli.main import app
from mentorgrad.domain.agent import Agent
from mentorgrad.domain.event import EventKind
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import MentorChoice, Stages
from tests.support.thread_executor import ThreadExecutor
from tests.support.thread_trainer import ThreadTrainer
from trainer_service.agent import local_agent

COMMAND = (str(Path(sys.executable).with_name("mentorgrad")), "serve", "worker")
LABEL = ("--label", "gpu=x")
ENDLESS = RunSpec(
    Function("rastrigin", 2),
    stages=Stages(1, 1_000_000),
    mentor=MentorChoice("none"),
    checkpoint_interval=timedelta(milliseconds=100),
    requires={"gpu": "x"},
)

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(postgres_url: str) -> Iterator[Start]:
    """Starts workers, which end with the test."""
    started: list[subprocess.Popen[str]] = []

    def run(name: str, *more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, "--name", name, *LABEL, "--threads", "1", *more],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ
            | {"MENTORGRAD_WORKER_STORE": postgres_url, "MENTORGRAD_WORKER_WARM": "false"},
        )
        started.append(process)
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"service": "worker", "name": name}
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def refused(name: str, store: str) -> str:
    """What a worker says that cannot start."""
    done = subprocess.run(
        [*COMMAND, "--name", name],
        env=os.environ | {"MENTORGRAD_WORKER_STORE": store, "MENTORGRAD_WORKER_WARM": "false"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    return " ".join(done.stderr.split())


def test_a_worker_takes_a_run_executes_it_and_leaves(
    tmp_path: Path,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command in this process, and its run on a thread of it."""
    monkeypatch.setattr(local_agent, "LocalExecutor", ThreadExecutor)
    monkeypatch.setenv("MENTORGRAD_WORKER_STORE", postgres_url)
    trainer = ThreadTrainer(tmp_path, postgres_url, workers_per_device=0)
    pool = ThreadPoolExecutor(1)
    try:
        with Client(trainer.address) as client:
            created = client.create_run(ENDLESS)
            assert created.warnings == ("the run waits: no worker reports",)
            run_id = created.run.run_id
            seen = pool.submit(finish_when_saved, client, run_id)
            with pytest.raises(SystemExit) as left:
                app([*COMMAND[1:], "--name", "one", *LABEL, "--threads", "1", "--runs", "1"])
            assert left.value.code == 0
            at = {agent.name: agent for agent in seen.result(120)}
            assert at["one"].run_ids == (run_id,)
            assert at["one"].labels == {"gpu": "x"}
            assert at["one"].memory_mib > 0
            assert {agent.service: agent.slots for agent in at.values()} == {
                "trainer": 0,
                "worker": 1,
            }
            run = client.get_run(run_id)
            assert (run.state, run.attempt) == (RunState.SUCCEEDED, 1)
            assert "one" not in {agent.name for agent in client.list_workers()}
        assert '{"service": "worker", "name": "one"}' in capsys.readouterr().out.splitlines()
    finally:
        trainer.stop()


def finish_when_saved(client: Client, run_id: str) -> Sequence[Agent]:
    """Ends a run after its first checkpoint, once its worker has reported it; the workers then."""
    seen: Sequence[Agent] = ()
    for event in client.watch(run_id):
        if event.kind is EventKind.CHECKPOINT_SAVED and not seen:
            while not any(run_id in agent.run_ids for agent in seen):
                time.sleep(0.05)
                seen = client.list_workers()
            client.finish_run(run_id)
    return seen


@pytest.mark.campaign
def test_a_run_goes_from_one_worker_to_another(
    tmp_path: Path, postgres_url: str, start: Start
) -> None:
    trainer = ThreadTrainer(tmp_path, postgres_url, workers_per_device=0)
    try:
        with Client(trainer.address) as client:
            run_id = client.create_run(ENDLESS).run.run_id
            lost = start("one")
            saved = False
            for event in client.watch(run_id):
                if event.kind is EventKind.CHECKPOINT_SAVED and not saved:
                    saved = True
                    assert "another worker has the name one" in refused("one", postgres_url)
                    lost.kill()  # its worker process saves a checkpoint, and ends
                    other = start("two", "--runs", "1")
                if event.kind is EventKind.RESUMED:
                    client.finish_run(run_id)
            run = client.get_run(run_id)
            assert (run.state, run.attempt) == (RunState.SUCCEEDED, 2)
            assert other.wait(120) == 0
            assert "two" not in {agent.name for agent in client.list_workers()}
    finally:
        trainer.stop()
