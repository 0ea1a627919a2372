"""What a worker reads on its standard input: jobs, and words about its run."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import IO

import pytest

from mentorgrad.domain.run import DesiredState
from trainer_service.agent_word import AgentWord
from trainer_service.job import WorkerJob
from trainer_service.worker_inbox import Inbox

JOB = WorkerJob("a", "memory:").to_line()


@pytest.fixture
def pipe() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as out, os.fdopen(writing, "wb", buffering=0) as into:
        yield out, into
        into.close()


def test_words_are_heard_during_the_run_that_they_are_about(
    pipe: tuple[IO[bytes], IO[bytes]],
) -> None:
    out, into = pipe
    inbox = Inbox(out)
    into.write(JOB)
    assert inbox.next_job() == JOB
    # Before the run's imports are done; only the last one counts.
    into.write(AgentWord("a", 1, DesiredState.RUN).to_line())
    into.write(AgentWord("a", 1, DesiredState.PAUSE).to_line() + JOB)
    assert inbox.next_job() == JOB
    heard: list[DesiredState] = []
    again = threading.Event()

    def hear(desired: DesiredState) -> None:
        heard.append(desired)
        if len(heard) == 2:
            again.set()

    with inbox.listening("a", 1, hear):
        assert heard == [DesiredState.PAUSE]
        into.write(AgentWord("a", 2, DesiredState.CANCEL).to_line())
        into.write(AgentWord("b", 1, DesiredState.CANCEL).to_line())
        into.write(AgentWord("a", 1, DesiredState.FINISH).to_line())
        assert again.wait(120)
        assert heard[1] is DesiredState.FINISH
    into.write(AgentWord("a", 1, DesiredState.CANCEL).to_line())
    into.write(b"no job\n")
    assert inbox.next_job() == b"no job\n"
    assert len(heard) == 2
    into.close()
    assert inbox.next_job() == b""


def test_a_line_that_is_no_word_is_a_job() -> None:
    assert AgentWord.from_line(AgentWord("a", 3).to_line()) == AgentWord("a", 3)
    for line in (JOB, b"[]\n", b"{}\n", b'{"word": {"attempt": 1}}\n', b"{", b"3"):
        assert AgentWord.from_line(line) is None
