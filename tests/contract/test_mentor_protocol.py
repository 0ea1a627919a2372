"""RemoteMentor against a real mentor service, in a process of its own, by the Mentor protocol."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import torch

from mentorgrad.domain.advice import (
    AdviseOpen,
    AnswerStatus,
    Batch,
    Constraints,
    Outcomes,
    ProposalOutcome,
    ProposalRequest,
    ProposalStatus,
    TaskCard,
)
from mentorgrad.domain.run import Candidate, CandidateSource, Score, Snapshot
from tests.support.mentor_process import MentorProcess
from trainer_service.mentors.remote import RemoteMentor, probe
from trainer_service.protocols import Scored

OPENED = AdviseOpen(
    session_id="run-1",
    card=TaskCard("label_prompt", "what a message is about", ("billing", "refund")),
    constraints=Constraints(n_tokens=8, max_words=6),
)


def scored(name: str, text: str = "", loss: float = 1.0) -> Scored:
    candidate = Candidate(
        name, CandidateSource.PROJECTION, text=text or name, score=Score(loss, 0.5, 10)
    )
    return Scored(candidate, torch.zeros(2))


def request(number: int = 0, *, count: int = 4, timeout: float = 120.0) -> ProposalRequest:
    return ProposalRequest(
        f"r{number}", stage=number, count=count, seed=number, timeout=timedelta(seconds=timeout)
    )


@pytest.fixture
def server(shared_mentor: Any) -> Any:
    return shared_mentor


@pytest.fixture(scope="module")
def slow_server() -> Iterator[MentorProcess]:
    """It answers after half a minute."""
    process = MentorProcess(0, 30.0)
    yield process
    process.kill()


@pytest.fixture
def mentor(server: Any) -> Iterator[RemoteMentor]:
    remote = RemoteMentor("small", server.address, OPENED)
    yield remote
    remote.close()


def test_proposals_are_different_within_constraints_and_recorded(mentor: RemoteMentor) -> None:
    incumbent = scored("s0/step1")
    answer = mentor.propose(request(1), incumbent, [incumbent])
    assert answer.status is AnswerStatus.USABLE
    assert answer.request_id == "r1"
    texts = [proposal.text for proposal in answer.proposals]
    assert len(set(texts)) == len(texts) == 4
    assert [proposal.proposal_id for proposal in answer.proposals] == [
        "s1/p1",
        "s1/p2",
        "s1/p3",
        "s1/p4",
    ]
    (record,) = answer.records
    assert (record.mentor, record.strategy, record.profile) == ("small", "maao", "small")
    assert record.model == "scripted"
    assert "billing, refund" in record.question
    assert record.raw_replies[0].startswith("1. message")


def test_what_was_observed_is_in_the_question(mentor: RemoteMentor) -> None:
    mentor.observe(Batch(stage=0, candidates=(scored("a", "observed words", 0.5).candidate,)))
    answer = mentor.propose(request(), scored("b", "incumbent words", 0.7), [])
    (record,) = answer.records
    assert record.question.index("incumbent words") < record.question.index("observed words")


def test_a_large_batch_with_parameters_arrives(mentor: RemoteMentor) -> None:
    assert mentor.wait_open(120)
    rows = 64
    batch = Batch(
        stage=0,
        snapshots=tuple(Snapshot(step, 1.0, text=f"step {step}") for step in range(rows)),
        parameters=np.ones((rows, 40_000), dtype=np.float32),
        candidates=(scored("a", "after many parameters").candidate,),
    )
    mentor.observe(batch)
    answer = mentor.propose(request(), scored("b"), [])
    assert "after many parameters" in answer.records[0].question


def test_requests_follow_each_other_with_outcomes_between(mentor: RemoteMentor) -> None:
    seen = set()
    for number in range(5):
        answer = mentor.propose(request(number), scored("a"), [])
        assert answer.status is AnswerStatus.USABLE
        seen.add(answer.proposals[0].text)
        outcome = ProposalOutcome(answer.proposals[0].proposal_id, ProposalStatus.LOST)
        mentor.report(Outcomes(answer.request_id, (outcome,)))
    assert len(seen) == 5


@pytest.mark.slow
def test_cancel_from_another_thread_ends_a_pending_propose(slow_server: MentorProcess) -> None:
    mentor = RemoteMentor("slow", slow_server.address, OPENED)
    try:
        answered = threading.Event()

        def cancel() -> None:  # until it is one that came in time
            while not answered.wait(0.1):
                mentor.cancel()

        threading.Thread(target=cancel, daemon=True).start()
        answer = mentor.propose(request(timeout=120.0), scored("a"), [])
        answered.set()
        assert answer.status is AnswerStatus.CANCELLED
        assert not answer.proposals
    finally:
        mentor.close()


@pytest.mark.slow
def test_too_slow_an_answer_is_timed_out(slow_server: MentorProcess) -> None:
    mentor = RemoteMentor("slow", slow_server.address, OPENED)
    try:
        assert mentor.wait_open(120)
        answer = mentor.propose(request(timeout=0.5), scored("a"), [])
        assert answer.status is AnswerStatus.TIMED_OUT
        assert answer.detail
    finally:
        mentor.close()


def test_an_unknown_strategy_is_refused_and_says_which_are_known(server: Any) -> None:
    opened = AdviseOpen("run", strategy="oracle")
    mentor = RemoteMentor("small", server.address, opened)
    try:
        answer = mentor.propose(request(), scored("a"), [])
        assert answer.status is AnswerStatus.REFUSED
        assert "oracle" in answer.detail
        assert "maao" in answer.detail
    finally:
        mentor.close()


def test_too_many_proposals_are_refused_and_the_session_comes_back(mentor: RemoteMentor) -> None:
    answer = mentor.propose(request(1, count=200), scored("a"), [])
    assert answer.status is AnswerStatus.REFUSED
    assert "64" in answer.detail
    assert mentor.propose(request(2), scored("a"), []).status is AnswerStatus.USABLE


def test_after_close_nothing_is_answered_or_raised(server: Any) -> None:
    mentor = RemoteMentor("small", server.address, OPENED)
    mentor.close()
    mentor.close()
    mentor.observe(Batch(candidates=(scored("a").candidate,)))
    mentor.report(Outcomes("r"))
    assert mentor.propose(request(), scored("a"), []).status is AnswerStatus.CANCELLED


def test_what_a_mentor_would_refuse_is_not_sent_and_the_session_lasts(
    mentor: RemoteMentor,
) -> None:
    assert mentor.wait_open(120)
    poison = Candidate("c" * 3, text="a\x00b", score=Score(1.0, 0.5, 10))
    mentor.observe(Batch(stage=0, candidates=(poison,)))
    mentor.report(Outcomes("r0", (ProposalOutcome("p1", detail="x" * 100_000),)))
    answer = mentor.propose(request(), scored("s0/step1"), [])
    assert answer.status is AnswerStatus.USABLE, answer.detail


async def test_probe_says_what_the_mentor_is(server: Any) -> None:
    info = await probe(server.address, 10.0)
    assert (info.model, info.backend, info.profile) == ("scripted", "scripted", "small")
    assert [strategy.name for strategy in info.strategies][:2] == ["maao", "leo"]


def test_many_observations_do_not_block(mentor: RemoteMentor) -> None:
    assert mentor.wait_open(120)
    done = threading.Event()

    def flood() -> None:
        for number in range(3_000):
            snapshot = Snapshot(number, 1.0, text="words")
            mentor.observe(Batch(stage=number // 100, snapshots=(snapshot,)))
        done.set()

    threading.Thread(target=flood, daemon=True).start()
    assert done.wait(120)
    while mentor.propose(request(1), scored("a"), []).status is not AnswerStatus.USABLE:
        pass
