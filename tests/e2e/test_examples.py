"""Every example of `examples/` in a process of its own, against a mentor that is served here."""

from __future__ import annotations

import ast
import csv
import json
import os
import re
import runpy
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mentor_service.backends.scripted import ScriptedBackend
from mentor_service.composition import MentorServer
from mentor_service.profiles import PROFILES
from mentor_service.protocols import Question
from mentorgrad.client import BackgroundLoop, Client
from mentorgrad.domain.experiment import Arm, ExperimentSpec
from mentorgrad.domain.spec import Function, MentorChoice, RunSpec, Task
from run_store.temporary_store import TemporaryRunStore
from tests.support.quick_runs import end_runs
from tests.support.scripted_mentor import Replies
from tests.support.served_runs import served
from tests.support.toy_run import toy_log

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("own_loop", "huggingface", "lightning_module")
pytestmark = pytest.mark.timeout(300)

Mentors = dict[str, tuple[str, list[str]]]

FORKED = """
import json, os, runpy, sys
from transformers import BertModel

programs = json.loads(sys.argv[1])
started = {}
for name, arguments in programs.items():
    started[name] = os.fork()
    if started[name] == 0:
        for stream, kind in ((sys.stdout, "out"), (sys.stderr, "err")):
            with open(f"{name}.{kind}", "w") as file:
                os.dup2(file.fileno(), stream.fileno())
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
        sys.exit()
codes = {n: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for n, pid in started.items()}
print(json.dumps(codes))
"""
"""Runs programs, each in a process of its own, which has what all of them import slowly."""


@pytest.fixture(scope="module")
def mentors() -> Iterator[Mentors]:
    """A mentor for each example, and the questions that it was asked."""
    loop, servers = BackgroundLoop.acquire(), []

    async def serve() -> tuple[str, list[str]]:
        questions: list[str] = []
        reply = Replies()

        def answer(question: Question) -> str:
            questions.append(question.user)
            return reply(question)

        server = MentorServer(ScriptedBackend(answer), PROFILES["small"], "127.0.0.1:0")
        servers.append(server)
        return await server.start(), questions

    yield {name: loop.run(serve()) for name in NAMES}
    for server in servers:
        loop.run(server.stop(0))
    loop.release()


@dataclass(frozen=True)
class Ended:
    """A program that has ended."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def ended(mentors: Mentors, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """All of them, at once."""
    place = tmp_path_factory.mktemp("examples")
    programs = {
        name: [str(EXAMPLES / f"{name}.py"), "--mentor", address, "--steps", "3"]
        for name, (address, _) in mentors.items()
    }
    done = subprocess.run(
        [sys.executable, "-c", FORKED, json.dumps(programs)],
        cwd=place,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return {
        name: Ended(code, (place / f"{name}.out").read_text(), (place / f"{name}.err").read_text())
        for name, code in json.loads(done.stdout).items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_and_asks(ended: dict[str, Ended], mentors: Mentors, name: str) -> None:
    program = ended[name]
    assert program.code == 0, program.err
    assert re.search(r"\d restarts$", program.out.strip()), program.out
    questions = mentors[name][1]
    assert len(set(questions)) == 1  # after the second of three steps, answered by some replies
    task = json.loads((EXAMPLES / "messages.json").read_text(encoding="utf-8"))
    assert task["description"] in questions[0]


def test_there_is_no_other_and_each_is_short() -> None:
    files = {path.stem: path.read_text(encoding="utf-8") for path in EXAMPLES.glob("*.py")}
    assert set(files) == {*NAMES, "runs_to_csv"}
    assert all(len(text.splitlines()) < 60 for text in files.values())
    assert {path.stem for path in EXAMPLES.glob("*.ipynb")} == NOTEBOOKS.keys()


# -- of recorded runs -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trainer() -> Iterator[str]:
    """Address of a trainer that has a run and an experiment, both ended."""
    store, loop = TemporaryRunStore(), BackgroundLoop.acquire()
    store.import_run(toy_log())
    context = served(store)
    _, address = loop.run(context.__aenter__())
    with Client(address) as client:
        name = client.create_experiment(EXPERIMENT).experiment.experiment_id
        while not client.get_experiment(name).state.is_final:
            end_runs(store, lambda run: 2.0 if run.spec.labels["arm"] == "none" else 1.0)
            time.sleep(0.02)
    yield address
    loop.run(context.__aexit__(None, None, None))
    loop.release()
    store.close()


EXPERIMENT = ExperimentSpec(
    name="hollows",
    base=RunSpec(Function()),
    tasks=(Task("rastrigin"),),
    arms=(Arm("none", MentorChoice("none")), Arm("perturb", MentorChoice("perturb"))),
    seeds=(0, 1),
)

NOTEBOOKS = {
    "analyse_run": ["toy-run", "kind words", "restarted from s0/p0", "linear_probe.test.accuracy"],
    "compare_experiment": ["hollows", "<td>verdict</td>", "rastrigin", "usage.gradient_steps"],
}
"""Name of a notebook → what it shows of the run or the experiment."""


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_s_cells_run_in_order(
    trainer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.setenv("MENTORGRAD_SERVER", trainer)
    notebook = json.loads((EXAMPLES / f"{name}.ipynb").read_text(encoding="utf-8"))
    shown, known = [], {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            shown.append(executed("".join(cell["source"]), known))
    text = "\n".join([*shown, capsys.readouterr().out])
    assert [part for part in NOTEBOOKS[name] if part not in text] == []


def executed(source: str, known: dict[str, Any]) -> str:
    """Executes a cell; what a notebook would show of the value of its last line."""
    lines, value = ast.parse(source).body, None
    last = lines.pop() if isinstance(lines[-1], ast.Expr) else None
    exec(compile(ast.Module(lines, []), "cell", "exec"), known)
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), known)
    return value._repr_html_() if hasattr(value, "_repr_html_") else repr(value)


def test_a_script_writes_runs_to_a_table(
    trainer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "runs.csv"
    script = EXAMPLES / "runs_to_csv.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--server", trainer, "--output", str(target)])
    runpy.run_path(str(script), run_name="__main__")
    rows = list(csv.DictReader(target.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 5
    (toy,) = (row for row in rows if row["run"] == "toy-run")
    assert (toy["test accuracy"], toy["mentor"]) == ("0.8", "random_tokens")
