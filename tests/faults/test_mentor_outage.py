"""A mentor that is killed, hangs, refuses or never answers neither stalls nor fails the caller."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import torch

from campaigns.faults.local_mentors import Mentors
from mentorgrad.domain.advice import (
    AdviseOpen,
    Answer,
    AnswerStatus,
    Batch,
    ProposalRequest,
    TaskCard,
)
from mentorgrad.domain.run import Candidate, CandidateSource, Score, Snapshot
from mentorgrad.errors import Unavailable
from mentorgrad.wire.advise_stream import Patience
from tests.support.mentor_process import MentorProcess
from tests.support.trainer_process import eventually
from trainer_service.mentors.remote import RemoteMentor, probe
from trainer_service.protocols import Scored

OPENED = AdviseOpen("run-1", card=TaskCard("label_prompt", "messages", ("billing",)))
PATIENCE = Patience(open=1.0, acknowledge=1.5, absent=0.8, longest_pause=0.3)


def scored(name: str, text: str = "some words") -> Scored:
    candidate = Candidate(name, CandidateSource.PROJECTION, text=text, score=Score(1.0, 0.5, 10))
    return Scored(candidate, torch.zeros(2))


def ask(mentor: RemoteMentor, name: str, timeout: float = 120.0) -> Answer:
    request = ProposalRequest(name, count=3, timeout=timedelta(seconds=timeout))
    return mentor.propose(request, scored("incumbent"), [])


def ask_until_usable(mentor: RemoteMentor, name: str) -> Answer:
    answers: list[Answer] = []

    def usable() -> bool:
        answers.append(ask(mentor, name))
        return answers[-1].status is AnswerStatus.USABLE

    eventually(usable, "a usable answer")
    return answers[-1]


def observe_much(mentor: RemoteMentor) -> bool:
    """Whether a thousand observations came back; a blocked one would keep the thread."""
    done = threading.Event()

    def observe() -> None:
        for step in range(1_000):
            mentor.observe(Batch(snapshots=(Snapshot(step, 1.0, text="words " * 50),)))
        done.set()

    threading.Thread(target=observe, daemon=True).start()
    return done.wait(120)


@pytest.fixture
def remote() -> Iterator[Callable[[str], RemoteMentor]]:
    opened: list[RemoteMentor] = []

    def start(address: str) -> RemoteMentor:
        opened.append(RemoteMentor("small", address, OPENED, PATIENCE))
        return opened[-1]

    yield start
    for mentor in opened:
        mentor.close()
        assert not mentor._stream.is_kept


def test_a_refused_port_is_unavailable(
    remote: Callable[[str], RemoteMentor], free_port: int
) -> None:
    mentor = remote(f"127.0.0.1:{free_port}")
    assert observe_much(mentor)
    answer = ask(mentor, "r1")
    assert answer.status is AnswerStatus.UNAVAILABLE
    assert str(free_port) in answer.detail
    assert "\n" not in answer.detail


def test_a_port_that_accepts_and_never_answers_is_unavailable(
    remote: Callable[[str], RemoteMentor],
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        mentor = remote(f"127.0.0.1:{listener.getsockname()[1]}")
        assert observe_much(mentor)
        assert ask(mentor, "r1").status is AnswerStatus.UNAVAILABLE


def test_a_short_timeout_holds_while_there_is_no_mentor(
    remote: Callable[[str], RemoteMentor], free_port: int
) -> None:
    answer = ask(remote(f"127.0.0.1:{free_port}"), "r1", timeout=0.2)
    assert answer.status in (AnswerStatus.TIMED_OUT, AnswerStatus.UNAVAILABLE)


def test_a_killed_mentor_is_unavailable_and_comes_back_with_what_it_was_told(
    remote: Callable[[str], RemoteMentor], mentor_process: Callable[..., Any]
) -> None:
    """And one that is told to stop says so, and the session moves on to the next one. What a
    process does on a signal is in `tests/rpc/test_mentor.py`."""
    first = mentor_process()
    mentor = remote(first.address)
    mentor.observe(Batch(candidates=(scored("early", "told to the first").candidate,)))
    ask_until_usable(mentor, "r1")
    first.kill()
    assert ask(mentor, "r2").status is AnswerStatus.UNAVAILABLE
    mentor.observe(Batch(candidates=(scored("late", "told to nobody").candidate,)))
    assert observe_much(mentor)
    with contextlib.closing(Mentors()) as others:
        others.start(port=first.port)
        answer = ask_until_usable(mentor, "r3")
        assert "told to the first" in answer.records[0].question
        assert "told to nobody" in answer.records[0].question
        others.stop()
        others.start(port=first.port)
        ask_until_usable(mentor, "r4")


@pytest.mark.campaign
def test_killed_while_it_thinks_is_asked_again_after_a_restart(
    remote: Callable[[str], RemoteMentor], mentor_process: Callable[..., Any]
) -> None:
    first = mentor_process(delay=60.0)
    mentor = RemoteMentor("small", first.address, OPENED, Patience(absent=120.0))
    try:
        assert mentor.wait_open(120)
        answers: list[Answer] = []
        thread = threading.Thread(target=lambda: answers.append(ask(mentor, "r1", 120.0)))
        thread.start()
        time.sleep(0.3)
        first.kill()
        mentor_process(port=first.port)
        thread.join()
        assert [answer.status for answer in answers] == [AnswerStatus.USABLE]
        assert answers[0].request_id == "r1"
    finally:
        mentor.close()


def test_a_hung_mentor_is_noticed_and_comes_back_when_it_goes_on(
    remote: Callable[[str], RemoteMentor], halted_mentor: MentorProcess
) -> None:
    mentor = remote(halted_mentor.address)
    ask_until_usable(mentor, "r1")
    halted_mentor.signal(signal.SIGSTOP)
    assert observe_much(mentor)
    answer = ask(mentor, "r2")
    assert answer.status is AnswerStatus.UNAVAILABLE
    halted_mentor.signal(signal.SIGCONT)
    ask_until_usable(mentor, "r3")


def test_close_is_not_held_up_by_a_hung_mentor(halted_mentor: MentorProcess) -> None:
    mentor = RemoteMentor("small", halted_mentor.address, OPENED, PATIENCE)
    assert mentor.wait_open(120)
    halted_mentor.signal(signal.SIGSTOP)
    assert observe_much(mentor)
    mentor.close()
    assert not mentor._stream.is_kept


async def test_probing_an_absent_mentor_is_unavailable(free_port: int) -> None:
    with pytest.raises(Unavailable, match=str(free_port)):
        await probe(f"127.0.0.1:{free_port}", 2.0)
