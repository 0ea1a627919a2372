"""Every example of `examples/`, against a mentor that is served here.

The suite runs `own_loop`, and the other libraries' callbacks in `test_callbacks.py`;
`pytest tests -m campaign` runs the other examples.
"""

from __future__ import annotations

import ast
import csv
import json
import re
import runpy
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mentor_service.backends.scripted import ScriptedBackend
from mentor_service.composition import MentorServer
from mentor_service.profiles import PROFILES
from mentor_service.protocols import Question
from mentorgrad.client import BackgroundLoop, Client
from mentorgrad.domain.experiment import Arm, ExperimentSpec
from mentorgrad.domain.objective import Function
from mentorgrad.domain.spec import MentorChoice, RunSpec, Task
from run_store.temporary_store import TemporaryRunStore
from tests.support.quick_runs import end_runs
from tests.support.scripted_mentor import Replies
from tests.support.served_runs import served
from tests.support.toy_run import toy_log

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("own_loop", "huggingface", "lightning_module")
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def mentor() -> Iterator[tuple[str, list[str]]]:
    """The address of a mentor, and the questions that it was asked."""
    loop, reply = BackgroundLoop.acquire(), Replies()
    questions: list[str] = []

    def answer(question: Question) -> str:
        questions.append(question.user)
        return reply(question)

    async def serve() -> tuple[MentorServer, str]:
        server = MentorServer(ScriptedBackend(answer), PROFILES["small"], "127.0.0.1:0")
        return server, await server.start()

    server, address = loop.run(serve())
    yield address, questions
    loop.run(server.stop(0))
    loop.release()


@pytest.mark.filterwarnings("ignore")  # those of other libraries
@pytest.mark.parametrize(
    "name", [NAMES[0], *(pytest.param(name, marks=pytest.mark.campaign) for name in NAMES[1:])]
)
def test_it_trains_and_asks(
    mentor: tuple[str, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    address, questions = mentor
    script = EXAMPLES / f"{name}.py"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script), "--mentor", address, "--steps", "3"])
    torch.set_num_threads(1)
    # In this process, which has imported torch.
    runpy.run_path(str(script), run_name="__main__")
    said = capsys.readouterr().out
    assert re.search(r"\d restarts$", said.strip()), said
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
