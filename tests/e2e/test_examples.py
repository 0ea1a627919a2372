"""Every example of `examples/` in a process of its own, against a mentor that is served here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mentor_service.backends.scripted import ScriptedBackend
from mentor_service.composition import MentorServer
from mentor_service.profiles import PROFILES
from mentor_service.protocols import Question
from mentorgrad.client import BackgroundLoop
from tests.support.scripted_mentor import Replies

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
    assert set(files) == set(NAMES)
    assert all(len(text.splitlines()) < 60 for text in files.values())
