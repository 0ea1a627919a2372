"""The demo does what it says, and is a fair one."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.cli.main import app
from mentorgrad.domain.advice import AnswerStatus
from mentorgrad.domain.event import EventKind
from mentorgrad.domain.query import EventQuery
from run_store.open import open_store
from run_store.protocols import RunStore

pytestmark = pytest.mark.timeout(300)

SHORT = """
from mentorgrad.cli.support import demo_arms
from mentorgrad.domain.spec import Acceptance, Stages

demo_arms.STAGES = Stages(count=2, steps=10, candidates=2)
demo_arms.ACCEPTANCE = Acceptance(finalists=1, probe_steps=3)
demo_arms.PROPOSALS = 4
demo_arms.GRADIENT_STEPS = 26

from mentorgrad.cli.main import main

main()
"""
DEMO = [sys.executable, "-c", SHORT, "demo"]
"""The demo, but for the sizes of its runs."""

ENDLESS = """
from mentorgrad.cli.support import demo_arms
from mentorgrad.domain.spec import Function, Stages

demo_arms.OBJECTIVE = Function("rastrigin", 2)
demo_arms.STAGES = Stages(count=2, steps=1_000_000)
demo_arms.GRADIENT_STEPS = 2_000_000

from mentorgrad.cli.main import main

main()
"""
"""Its first run, of an objective without a model to load, does not end."""
ARMS = ("mentor", "random_tokens", "none")
FIGURES = {
    "run_id",
    "test_loss",
    "test_accuracy",
    "best_selection_loss",
    "restarts_applied",
    "mentor_calls",
    "usable_answers",
    "seconds",
}


def addresses(text: str) -> list[tuple[str, int]]:
    """Where the services said they are."""
    found = re.findall(r"(?:mentor|trainer) at (127\.0\.0\.1):(\d+)", text)
    return [(host, int(port)) for host, port in found]


def answers(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=2).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def demo(place: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*DEMO, "--json"], cwd=place, capture_output=True, text=True, timeout=280)


@pytest.fixture(scope="module")
def summary(demo: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert demo.returncode == 0, demo.stderr[-3000:]
    return json.loads(demo.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def store(place: Path, summary: dict[str, Any]) -> Iterator[RunStore]:
    opened = open_store(f"sqlite:///{place}/mentorgrad-demo/runs.sqlite")
    yield opened
    opened.close()


def test_the_last_line_is_the_summary(summary: dict[str, Any]) -> None:
    assert set(summary) == {"arms", "baselines", "seconds"}
    baselines = {item["name"]: item["test"]["accuracy"] for item in summary["baselines"]}
    assert list(baselines) == ["majority", "zero_shot", "linear_probe", "prototypes"]
    assert baselines["linear_probe"] > baselines["zero_shot"] > baselines["majority"]
    assert tuple(summary["arms"]) == ARMS
    assert all(set(figures) == FIGURES for figures in summary["arms"].values())
    assert summary["arms"]["none"]["restarts_applied"] == 0
    for control in ("random_tokens", "none"):
        assert summary["arms"][control]["mentor_calls"] == 0
        assert summary["arms"][control]["usable_answers"] == 0
    assert summary["arms"]["mentor"]["mentor_calls"] > 0
    assert summary["arms"]["mentor"]["usable_answers"] > 0


def test_the_arms_had_one_budget_and_kept_to_it(store: RunStore, summary: dict[str, Any]) -> None:
    runs = {arm: store.get_run(summary["arms"][arm]["run_id"]) for arm in ARMS}
    budgets = {(run.spec.budget, run.spec.seed, run.spec.task) for run in runs.values()}
    assert len(budgets) == 1
    for run in runs.values():
        assert run.usage.gradient_steps == run.spec.budget.gradient_steps
        assert run.usage.evaluations <= (run.spec.budget.evaluations or 0)
        assert run.usage.fallbacks == 0


def test_there_is_something_to_gain_and_tuning_gains_it(
    store: RunStore, summary: dict[str, Any]
) -> None:
    result = store.get_run(summary["arms"]["none"]["run_id"]).result
    assert result is not None
    assert result.zero_shot is not None
    assert result.zero_shot.accuracy is not None
    assert result.zero_shot.accuracy <= 0.85
    assert result.majority_accuracy is not None
    accuracy = summary["arms"]["none"]["test_accuracy"]
    assert accuracy >= result.zero_shot.accuracy + 0.05
    assert accuracy > result.majority_accuracy


def test_the_trajectory_is_recorded_and_moves_in_words(
    store: RunStore, summary: dict[str, Any]
) -> None:
    texts = {}
    for arm in ARMS:
        run_id = summary["arms"][arm]["run_id"]
        path = store.trajectory(run_id)
        texts[arm] = {snapshot.text for snapshot in path.snapshots}
        assert "" not in texts[arm]
        assert len(texts[arm]) > 1
        assert path.parameters is not None
        assert len(path.parameters) == len(path.snapshots)
        toward = {item.toward_text for item in store.list_candidates(run_id).candidates}
        assert len(toward - {""}) > 1


def test_the_language_model_s_answers_are_recorded_with_their_outcomes(
    store: RunStore, summary: dict[str, Any]
) -> None:
    """Whatever the model says: an answer is usable or not, and a run decides about all of it."""
    run_id = summary["arms"]["mentor"]["run_id"]
    events = list(store.events(run_id, EventQuery(effective=True)))
    answered = [event.payload for event in events if event.kind is EventKind.PROPOSALS_RECEIVED]
    answers = [item.answer for item in answered]
    assert answers
    assert {answer.status for answer in answers} <= {AnswerStatus.USABLE, AnswerStatus.UNUSABLE}
    assert all(
        record.model and record.raw_replies for answer in answers for record in answer.records
    )
    assert all(answer.records for answer in answers)
    proposed = {item.proposal_id for answer in answers for item in answer.proposals}
    decided = [event.payload for event in events if event.kind is EventKind.RESTART_DECIDED]
    outcomes = {outcome.proposal_id for payload in decided for outcome in payload.outcomes}
    assert outcomes == proposed


def test_progress_and_picture_are_there_and_the_services_are_gone(
    demo: subprocess.CompletedProcess[str], place: Path
) -> None:
    told = demo.stderr
    assert "stage 2 of 2" in told
    assert (place / "mentorgrad-demo/loss.png").read_bytes().startswith(b"\x89PNG")
    found = addresses(told)
    assert len(found) == 2
    assert not any(answers(address) for address in found)


def test_the_commands_to_look_further_work(
    demo: subprocess.CompletedProcess[str],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    commands = [
        shlex.split(line)[1:]
        for line in demo.stderr.splitlines()
        if line.startswith("  mentorgrad ")
    ]
    assert {"list", "show", "compare", "plot", "download"} <= {words[1] for words in commands}
    for words in commands:
        if words[0] == "serve":
            continue  # runs until it is stopped; the services' own tests start it
        with pytest.raises(SystemExit) as left:
            app(words)
        said = capsys.readouterr()
        assert left.value.code == 0, (words, said.err)
        assert said.out


def test_an_interrupt_stops_both_services(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, "demo", "--directory", str(tmp_path / "demo")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    told = ""
    for line in process.stdout:
        told += line
        if line.startswith("stage 1"):
            process.send_signal(signal.SIGINT)
            break
    _, complaint = process.communicate(timeout=120)
    assert process.returncode == 130, complaint
    assert "stopped the demo and both services" in complaint
    found = addresses(told)
    assert len(found) == 2
    assert not any(answers(address) for address in found)
