"""Every example of `examples/` as a program of its own, against a mentor that is served here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
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


@pytest.fixture(scope="module")
def running(
    mentors: Mentors, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All of them at once: most of their time is that of imports."""
    place = tmp_path_factory.mktemp("examples")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    started = {
        name: subprocess.Popen(
            [sys.executable, EXAMPLES / f"{name}.py", "--mentor", address, "--steps", "3"],
            cwd=place,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, (address, _) in mentors.items()
    }
    yield started
    for process in started.values():
        process.kill()
        process.communicate()


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_and_asks(
    running: dict[str, subprocess.Popen[str]], mentors: Mentors, name: str
) -> None:
    out, err = running[name].communicate(timeout=240)
    assert running[name].returncode == 0, err
    assert re.search(r"\d restarts$", out.strip()), out
    questions = mentors[name][1]
    assert len(set(questions)) == 1  # after the second of three steps, answered by some replies
    task = json.loads((EXAMPLES / "messages.json").read_text(encoding="utf-8"))
    assert task["description"] in questions[0]


def test_there_is_no_other_and_each_is_short() -> None:
    files = {path.stem: path.read_text(encoding="utf-8") for path in EXAMPLES.glob("*.py")}
    assert set(files) == set(NAMES)
    assert all(len(text.splitlines()) < 60 for text in files.values())
