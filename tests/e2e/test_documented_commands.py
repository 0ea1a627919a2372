"""Every command that README and the guides show runs, or at least consists of words that exist.

The suite runs the README; `pytest tests -m campaign` runs the other pages too.
A page's commands run in order in one folder, against what the page itself serves by `mentorgrad
serve all`, else a trainer and a scripted mentor that are served here. `mentorgrad serve` listens
on a free port until the page is done. A line that needs no shell runs in this process; the program
of its name is in `test_wheel.py`. What is changed of a command: addresses, placeholders (RUN,
EXPERIMENT), and how long a run takes.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.cli.main import app
from mentorgrad.client import Client
from mentorgrad.domain.experiment import Arm, ExperimentSpec, ExperimentState
from mentorgrad.domain.objective import Function
from mentorgrad.domain.query import RunFilter
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import MentorChoice, RunSpec, Stages, Task
from tests.support.collector import Collector
from tests.support.deployment import ROOT
from tests.support.documented import (
    PAGES,
    Command,
    Fence,
    commands,
    fences,
    inline,
    stray,
    unknown,
)
from tests.support.trainer_process import TrainerProcess, eventually

pytestmark = pytest.mark.timeout(600)

FENCES = [fence for page in PAGES for fence in fences(page)]
SHOWN = [command for fence in FENCES for command in commands(fence)]

ELSEWHERE = {
    r"make (demo|test)": "tests/e2e/test_documented_commands.py::test_make_runs_demo_and_tests",
    r"mentorgrad demo": "tests/e2e/test_demo.py::test_the_last_line_is_the_summary",
    r"pip install .*": "tests/unit/packaging/test_pip_lines.py::test_a_line_resolves_to_pins",
    r"mentorgrad experiment run examples/experiment.toml --local": (
        "tests/e2e/test_experiment.py::test_the_example_survives_a_break_and_reports"
    ),
    r"python examples/own_loop.py .*": "tests/e2e/test_examples.py::test_it_trains_and_asks",
    r"python -m campaigns\.fuzz .*": (
        "tests/rpc/test_fuzz.py::test_odd_requests_get_documented_answers_and_harm_nobody"
    ),
}
"""Commands, as patterns, that another test runs."""


def elsewhere(command: Command) -> str | None:
    """The test that runs it, if it is not this one."""
    found = (test for like, test in ELSEWHERE.items() if re.fullmatch(like, command.words))
    return next(found, None)


RUN_HERE = [command for command in SHOWN if not command.illustration and not elsewhere(command)]

_EXPORTING = {command.page for command in RUN_HERE if command.text.startswith("export ")}
ONCE = {c.words: c for c in reversed(RUN_HERE) if c.page not in _EXPORTING and "RUN" not in c.words}
"""Where several pages show the same command, in the same environment: the first of them runs it."""

SCP = """#!/bin/sh
# All hosts of a page share one folder.
for last; do :; done
target=${last#*:}
while [ $# -gt 1 ]; do cp "${1#*:}" "./${target:-.}"; shift; done
"""


# -- where they run -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ground:
    """What is there before a page begins."""

    folder: Path
    environment: dict[str, str]
    addresses: dict[str, str] = field(default_factory=dict)
    """What the pages call a service → where it is."""
    trainer: str = ""
    """Empty: nothing is served."""
    experiment: str = ""

    def newest_run(self) -> str:
        """The last one that a command finished."""
        with Client(self.trainer) as client:
            runs = client.list_runs(RunFilter(states=(RunState.SUCCEEDED,))).runs
        return next(run.run_id for run in runs if "experiment" not in run.spec.labels)


SPEC = RunSpec(
    objective=Function("rastrigin", 2), stages=Stages(count=2, steps=2), mentor=MentorChoice("none")
)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """A folder and an environment, of a page that serves what it needs."""
    folder = tmp_path_factory.mktemp("ground")
    _files(folder)
    kept = ("MENTORGRAD_TRAINER_CACHE_DIR", "MENTORGRAD_TRAINER_WARM")
    own = {k: v for k, v in os.environ.items() if not k.startswith("MENTORGRAD_") or k in kept}
    given = {
        "PATH": f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "MENTORGRAD_TRAINER_LISTEN": "127.0.0.1:0",
        "MENTORGRAD_MENTOR_LISTEN": "127.0.0.1:0",
        "MENTORGRAD_UI_LISTEN": "127.0.0.1:0",
        "MENTORGRAD_TRAINER_DATA_ROOT": str(folder / "data"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    return Ground(folder, own | given)


@pytest.fixture(scope="module")
def ground(bare: Ground, shared_mentor: Any) -> Iterator[Ground]:
    """A trainer with a past, and a mentor."""
    trainer = TrainerProcess(
        bare.folder,
        *(f"--mentor={name}={shared_mentor.address}" for name in ("default", "small")),
        *("--data-root", str(bare.folder / "data")),
        *("--cache-dir", os.environ["MENTORGRAD_TRAINER_CACHE_DIR"]),
        reuse=True,
    )
    served = {"MENTORGRAD_SERVER": trainer.address, "MENTORGRAD_MENTOR": shared_mentor.address}
    try:
        with Collector() as collector:
            yield Ground(
                bare.folder,
                environment=bare.environment | served,
                addresses={
                    "127.0.0.1:50551": trainer.address,
                    "127.0.0.1:50552": shared_mentor.address,
                    "http://127.0.0.1:4317": collector.endpoint,
                },
                trainer=trainer.address,
                experiment=_past(trainer.address),
            )
    finally:
        trainer.stop()


def _files(folder: Path) -> None:
    """What a page's reader has: data of a task, another host to copy to."""
    (folder / "data/reviews").mkdir(parents=True)
    for split in ("train", "test"):
        rows = [
            {"text": f"{split}: {word} {n}", "label": word} for n in range(20) for word in WORDS
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"data/reviews/{split}.jsonl").write_text(lines)
    (folder / "bin").mkdir()
    scp = folder / "bin/scp"
    scp.write_text(SCP)
    scp.chmod(0o755)


WORDS = ("bad", "good")


def _experiment(client: Client, seeds: int) -> str:
    """Begins one."""
    spec = ExperimentSpec(
        name=f"{seeds} seeds",
        base=SPEC,
        tasks=(Task("rastrigin"),),
        arms=(Arm("none"), Arm("perturb", MentorChoice("perturb"))),
        seeds=tuple(range(seeds)),
    )
    return client.create_experiment(spec).experiment.experiment_id


def _past(trainer: str) -> str:
    """Has a run and an experiment, whose id it returns, behind it."""
    with Client(trainer) as client:
        client.create_run(SPEC)
        name = _experiment(client, 1)

        def all_ended() -> bool:
            ended = client.get_experiment(name).state is ExperimentState.FINISHED
            return ended and not client.list_runs(RunFilter(states=(RunState.RUNNING,))).runs

        eventually(all_ended, "a run and an experiment end", 300.0)
    return name


@dataclass
class Desk:
    """Where one page's commands run."""

    ground: Ground
    folder: Path
    addresses: dict[str, str]
    prelude: list[str] = field(default_factory=list)
    """Lines that hold for all commands after them."""
    served: list[str] = field(default_factory=list)
    """Addresses of what `mentorgrad serve all` started."""
    services: list[tuple[Command, subprocess.Popen[str]]] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    """Of what is served here, by the environment."""

    def run(self, command: Command) -> None:
        """Runs a command to its end; a service until it says where it is."""
        text = self._adapted(command.text)
        if text.startswith(("export ", "alias ")):
            self.prelude.append(text)
            return
        if text.startswith("mentorgrad serve "):
            self._serve(command, text)
            return
        text = self._shorter(text)
        if words := self._plain(text):
            self._run_here(command, words)
            return
        done = subprocess.run(
            ["bash", "-c", self._script(text)],
            cwd=self.folder,
            env=self.ground.environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"

    def _plain(self, text: str) -> list[str]:
        """The words of a line that needs no shell: of our command alone; else none."""
        program, *words = shlex.split(text, comments=True)
        before = [*self.prelude, text.partition(" #")[0]]
        if program != "mentorgrad" or re.search(r"[^\w\s./:=-]|^alias ", "\n".join(before), re.M):
            return []
        return words

    def _run_here(self, command: Command, words: list[str]) -> None:
        """In this process, which has the command's imports."""
        exported = [line.removeprefix("export ").partition("=") for line in self.prelude]
        environment = self.ground.environment | {name: value for name, _, value in exported}
        said = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said):
            patch.chdir(self.folder)
            for name in os.environ.keys() - environment.keys():
                patch.delenv(name)
            for name, value in environment.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as left:
                app(words)
        assert left.value.code == 0, f"{command}\n{said.getvalue()}"

    def _script(self, text: str) -> str:
        return "\n".join(["set -o pipefail; shopt -s expand_aliases", *self.prelude, text])

    def _adapted(self, text: str) -> str:
        """With what this ground has for what the page names."""
        for shown, real in self.addresses.items():
            text = text.replace(shown, real)
        if re.search(r"\bRUN\b", text):
            text = re.sub(r"\bRUN\b", self.ground.newest_run(), text)
        experiment = self.ground.experiment
        if "experiment cancel" in text:  # of one that goes on
            with Client(self.ground.trainer) as client:
                experiment = _experiment(client, 1000)
        return re.sub(r"\bEXPERIMENT\b", experiment, text)

    def _serve(self, command: Command, text: str) -> None:
        """Starts a service on free ports; the page's later commands find it there."""
        shown = dict(re.findall(r"--(listen|metrics) (\S+:\d+)", command.text))
        text = re.sub(r"(--(?:listen|metrics)) \S+:\d+", r"\1 127.0.0.1:0", text)
        number = len(self.services)
        log = self.folder / f"service{number}.log"
        store = {"MENTORGRAD_TRAINER_STORE": f"sqlite:///service{number}.sqlite"}
        with log.open("w") as errors:
            process = subprocess.Popen(
                ["bash", "-c", self._script("exec " + text.rstrip(" &"))],
                cwd=self.folder,
                env=self.ground.environment | self.settings | store,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.services.append((command, process))
        assert process.stdout is not None
        line = process.stdout.readline()
        if "serve all" in text:
            assert line.startswith("mentor at "), log.read_text()
            self.served.append(line.split()[2])
            line = process.stdout.readline()
            assert line.startswith("trainer at "), log.read_text()
            self.served.append(line.split()[2])
            self.prelude.append(f"export MENTORGRAD_SERVER={self.served[-1]}")
            return
        assert line, f"{command}\n{log.read_text()}"
        said = json.loads(line)
        names = {"listen": "address", "metrics": "metrics"}
        self.addresses |= {address: said[names[flag]] for flag, address in shown.items()}

    def _shorter(self, text: str) -> str:
        """The same command; if it makes a run, one of few steps and rows. Where the page serves a
        trainer, its run is of no task, for which a worker would have to load the encoder, and of
        one stage, for which no language model is asked."""
        serves = any(re.search("serve (trainer|all)", str(c)) for c, _ in self.services)
        few = {"--stages": 1 if serves else 2, "--steps": 2, "--proposals": 2}
        added = [f"{flag} {number}" for flag, number in few.items() if f"{flag} " not in text]
        if "--function" not in text and "--spec" not in text:
            added.append("--function rastrigin" if serves else "--spec quick.toml")
        return re.sub(r"\bmentorgrad run(?=\s|$)", " ".join(["mentorgrad run", *added]), text)

    def leave(self) -> list[tuple[str, int]]:
        """Interrupts all services, as Ctrl-C does; returns their exit codes."""
        for _, process in reversed(self.services):
            process.send_signal(signal.SIGINT)
        for _, process in self.services:
            process.communicate(timeout=120)
        return [(str(command), process.returncode) for command, process in self.services]


NO_LLM = {
    "MENTORGRAD_MENTOR_BACKEND": "openai",
    "MENTORGRAD_MENTOR_BASE_URL": "http://127.0.0.1:9/v1",
    "MENTORGRAD_MENTOR_MODEL": "a-model",
}
"""A mentor of the suite loads no LLM, for none is asked; that of the demo has one."""
QUICK = """
[task]
name = "quick"
description = "whether a review is good or bad"
labels = ["bad", "good"]
data = { train = "reviews/train.jsonl", test = "reviews/test.jsonl" }
shots = 2
selection_rows = 2
"""


@pytest.fixture
def desk(page: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    shown = [command.text for command in RUN_HERE if command.page == page]
    serves = any(text.startswith("mentorgrad serve all") for text in shown)
    alone = serves and page not in _EXPORTING and not re.search(r"\b(RUN|EXPERIMENT)\b", str(shown))
    ground: Ground = request.getfixturevalue("bare" if alone else "ground")
    for name in ("examples", "experiments", "deploy"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "quick.toml").write_text(QUICK)
    (tmp_path / "mentorgrad-experiment").symlink_to(ground.folder)
    made = Desk(ground, tmp_path, dict(ground.addresses))
    if page == "README.md":
        made.settings |= NO_LLM
    yield made
    for _, process in made.services:
        if process.poll() is None:
            process.kill()
            process.communicate()


# -- they run -------------------------------------------------------------------------------------


RUN_PAGES = [
    pytest.param(page, marks=() if page == "README.md" else pytest.mark.campaign)
    for page in sorted({command.page for command in RUN_HERE})
]


@pytest.mark.parametrize("page", RUN_PAGES)
def test_what_a_page_shows_works(desk: Desk, page: str) -> None:
    text = (ROOT / page).read_text()
    for name, content in re.findall(r"`([\w-]+\.toml)`:\n+```toml\n(.*?)^```", text, re.S | re.M):
        (desk.folder / name).write_text(content)
    if "own.jsonl" in text:  # the log of a loop of the reader's own
        desk.run(Command(page, 0, "mentorgrad runs export RUN --output own.jsonl", False))
    if "sqlite:///runs.sqlite" in text:  # the store of the reader's service
        desk.run(Command(page, 0, "mentorgrad store migrate --store sqlite:///runs.sqlite", False))
    for command in RUN_HERE:
        first = command if page in _EXPORTING else ONCE.get(command.words, command)
        if command.page == first.page == page:
            desk.run(command)
    assert [left for left in desk.leave() if left[1] != 0] == []
    for address in desk.served:
        host, _, port = address.rpartition(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=10)


def test_make_runs_demo_and_tests() -> None:
    for target, last in (("demo", ".venv/bin/mentorgrad demo"), ("test", "-m pytest tests ")):
        done = subprocess.run(
            ["make", "--no-print-directory", "--dry-run", target],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert last in done.stdout.splitlines()[-1]


# -- they are what they seem ----------------------------------------------------------------------


def test_most_commands_are_run_by_tests() -> None:
    run = [command for command in SHOWN if not command.illustration]
    assert len(run) > len(SHOWN) / 2


@pytest.mark.parametrize("page", PAGES)
def test_a_command_stands_where_tests_find_it(page: str) -> None:
    found = [(fence.line, line) for fence in fences(page) for line in stray(fence)]
    assert found == [], f"{page}: use ```console or ```sh, or mark the fence: ```text illustration"


@pytest.mark.parametrize("test", sorted(set(ELSEWHERE.values())))
def test_the_other_tests_are_there(test: str) -> None:
    path, _, name = test.partition("::")
    assert f"def {name}(" in (ROOT / path).read_text()


@pytest.mark.parametrize("page", PAGES)
def test_every_word_of_a_command_is_known(page: str) -> None:
    wrong = {
        str(command): found
        for command in SHOWN
        if command.page == page and (found := unknown(command.text))
    }
    wrong |= {span: found for span in inline(page) if (found := unknown(span, whole=False))}
    assert wrong == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mentorgrad nothing", "no command 'nothing'"),
        ("(umask 077; mentorgrad runs nothing RUN > file)", "no command 'nothing'"),
        ("mentorgrad run --mentor small --nothing", "--nothing"),
        ("mentorgrad serve trainer --nothing 2>&1 | grep x", "--nothing"),
        ("mentorgrad run --mentor", "--mentor"),
        ("mentorgrad runs show", "missing"),
        ("mentorgrad runs show RUN more", "too many"),
    ],
)
def test_a_word_that_does_not_exist_is_found(text: str, said: str) -> None:
    (found,) = unknown(text)
    assert said in found


def test_commands_are_found_in_their_fences() -> None:
    text = (
        "```console\ndesk$ one \\\n  more   # it's\nout\n$ two '{\n}'\nmentorgrad x\n```\n"
        "```sh\n# a comment\nthree\n```\n```console illustration\n$ four\n```\n```\nmake x\n```\n"
    )
    found: list[Fence] = list(fences("page", text))
    assert [(c.line, c.words, c.illustration) for f in found for c in commands(f)] == [
        (2, "one more", False),
        (5, "two {\n}", False),
        (11, "three", False),
        (14, "four", True),
    ]
    assert [stray(fence) for fence in found] == [["mentorgrad x"], [], [], ["make x"]]
