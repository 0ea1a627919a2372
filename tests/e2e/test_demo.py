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
from mentorgrad.domain.run import Run
from run_store.open import open_store
from run_store.protocols import RunStore
from tests.support.tiny_models import make_causal

pytestmark = pytest.mark.timeout(300)

SHORT = """
import os
from dataclasses import replace

from mentorgrad.cli.support import demo_arms
from mentorgrad.domain.objective import CausalPrompt
from mentorgrad.domain.spec import (Acceptance, Budget, Stages, Task)

words, gradients = demo_arms.regimes()
model = CausalPrompt(os.environ["TINY_MODEL"], n_tokens=12, max_length=100)
few = replace(words.spec.mentor, proposals=2)
rows = {"shots": 4, "selection_rows": 4, "test_rows": 10}
words = replace(
    words, spec=replace(words.spec, objective=model, mentor=few, task=Task("tickets", **rows))
)
gradients = replace(
    gradients,
    spec=replace(
        gradients.spec,
        task=Task("tickets", **rows),
        stages=Stages(count=2, steps=4, candidates=2),
        mentor=few,
        acceptance=Acceptance(finalists=1, probe_steps=2),
        budget=Budget(forward_rows=300),
    ),
)
demo_arms.regimes = lambda: (words, gradients)
demo_arms.ARMS = ("mentor", "none")

from mentorgrad.cli.main import main

main()
"""
DEMO = [sys.executable, "-c", SHORT, "demo"]
"""The demo, but for the sizes of its runs and two of its arms, and with a tiny language model as
the tuned one."""

ENDLESS = """
from dataclasses import replace

from mentorgrad.cli.support import demo_arms
from mentorgrad.domain.objective import Function
from mentorgrad.domain.spec import (RunSpec, Stages)

spec = RunSpec(Function("rastrigin", 2), stages=Stages(count=2, steps=1_000_000))
first = replace(demo_arms.regimes()[0], spec=spec)
demo_arms.regimes = lambda: (first,)

from mentorgrad.cli.main import main

main()
"""
"""Its first run, of an objective without a model to load, does not end."""
REGIMES = ("words", "gradients")
ARMS = ("mentor", "none")
FIGURES = {
    "run_id",
    "test_loss",
    "test_accuracy",
    "best_selection_loss",
    "forward_rows",
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
    model = make_causal(place / "tiny")
    environment = {
        **os.environ,
        "TINY_MODEL": str(model),
        "MENTORGRAD_TRAINER_MODEL_ROOT": str(place),
    }
    return subprocess.run(
        [*DEMO, "--json"], cwd=place, capture_output=True, text=True, timeout=280, env=environment
    )


@pytest.fixture(scope="module")
def summary(demo: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert demo.returncode == 0, demo.stderr[-3000:]
    return json.loads(demo.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def store(place: Path, summary: dict[str, Any]) -> Iterator[RunStore]:
    opened = open_store(f"sqlite:///{place}/mentorgrad-demo/runs.sqlite")
    yield opened
    opened.close()


def runs_of(store: RunStore, summary: dict[str, Any], regime: str) -> dict[str, Run]:
    arms = summary["regimes"][regime]["arms"]
    return {arm: store.get_run(arms[arm]["run_id"]) for arm in ARMS}


def test_the_last_line_is_the_summary(summary: dict[str, Any]) -> None:
    assert set(summary) == {"regimes", "seconds"}
    assert tuple(summary["regimes"]) == REGIMES
    for regime in summary["regimes"].values():
        baselines = {item["name"]: item["test"]["accuracy"] for item in regime["baselines"]}
        assert list(baselines) == ["majority", "zero_shot", "linear_probe", "prototypes"]
        arms = regime["arms"]
        assert tuple(arms) == ARMS
        assert all(set(figures) == FIGURES for figures in arms.values())
        assert arms["none"]["mentor_calls"] == arms["none"]["usable_answers"] == 0
        assert arms["mentor"]["mentor_calls"] > 0
        assert arms["mentor"]["usable_answers"] > 0
    # Of the last regime, whose model is the real one.
    assert baselines["linear_probe"] > baselines["zero_shot"] > baselines["majority"]
    assert arms["none"]["restarts_applied"] == 0


def test_the_arms_had_one_budget_and_spent_it(store: RunStore, summary: dict[str, Any]) -> None:
    for regime in REGIMES:
        runs = runs_of(store, summary, regime)
        budgets = {(run.spec.budget, run.spec.seed, run.spec.task) for run in runs.values()}
        assert len(budgets) == 1
        spent = [run.usage.forward_rows for run in runs.values()]
        assert all(run.usage.fallbacks == 0 for run in runs.values())
        if regime == "words":  # where an LLM may have fewer lines that can be used
            assert max(spent) == spent[ARMS.index("none")]
            assert {run.usage.gradient_steps for run in runs.values()} == {0}
        else:
            most = runs["none"].spec.budget.forward_rows or 0
            a_step, final_scores = 3 * 6, 2 * 2 * 6
            assert all(most - a_step - final_scores < rows <= most for rows in spent)


def test_there_is_something_to_gain_and_tuning_gains_it(
    store: RunStore, summary: dict[str, Any]
) -> None:
    run = runs_of(store, summary, "gradients")["none"]
    assert run.result is not None
    tuned, zero_shot = run.result.test, run.result.zero_shot
    assert tuned is not None
    assert zero_shot is not None
    assert zero_shot.accuracy is not None
    assert zero_shot.accuracy <= 0.85
    assert tuned.loss < zero_shot.loss


def test_the_trajectory_is_recorded_and_moves_in_words(
    store: RunStore, summary: dict[str, Any]
) -> None:
    texts = {}
    for arm, run in runs_of(store, summary, "gradients").items():
        path = store.trajectory(run.run_id)
        texts[arm] = {snapshot.text for snapshot in path.snapshots}
        assert "" not in texts[arm]
        assert path.parameters is not None
        assert len(path.parameters) == len(path.snapshots)
        toward = {item.toward_text for item in store.list_candidates(run.run_id).candidates}
        assert len(toward - {""}) > 1
    assert len(set.union(*texts.values())) > 1


@pytest.mark.parametrize("regime", REGIMES)
def test_the_language_model_s_answers_are_recorded_with_their_outcomes(
    store: RunStore, summary: dict[str, Any], regime: str
) -> None:
    """Whatever the model says: an answer is usable or not, and a run decides about all of it."""
    run_id = summary["regimes"][regime]["arms"]["mentor"]["run_id"]
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
    for picture in ("loss", "regimes"):
        found = place / f"mentorgrad-demo/{picture}.png"
        assert found.read_bytes().startswith(b"\x89PNG")
    services = addresses(told)
    assert len(services) == 2
    assert not any(answers(address) for address in services)


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


@pytest.mark.campaign
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
