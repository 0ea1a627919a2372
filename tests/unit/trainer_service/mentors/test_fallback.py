from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
import torch

from mentorgrad.domain.advice import (
    Answer,
    AnswerRecord,
    AnswerStatus,
    Batch,
    Outcomes,
    Proposal,
    ProposalRequest,
    Wants,
)
from mentorgrad.domain.event import MentorBack, MentorLost, ProposalsReceived
from mentorgrad.domain.run import Candidate
from trainer_service.mentors.fallback import FallbackMentor
from trainer_service.protocols import Scored
from trainer_service.running.telemetry import Telemetry

INCUMBENT = Scored(Candidate("s1/step4"), torch.zeros(1))
REQUEST = ProposalRequest("s1", stage=1, count=2)
GOOD = Answer("s1", AnswerStatus.USABLE, (Proposal("s1/p1", "a"), Proposal("s1/p2", "b")))


class Scripted:
    def __init__(self, *answers: Answer) -> None:
        self.wants = Wants()
        self.answers = list(answers)
        self.asked = 0

    def wait_open(self, timeout: float) -> bool:
        return True

    def observe(self, batch: Batch) -> None: ...

    def report(self, outcomes: Outcomes) -> None: ...

    def cancel(self) -> None: ...

    def close(self) -> None: ...

    def propose(
        self, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> Answer:
        self.asked += 1
        return self.answers.pop(0)


def bad(status: AnswerStatus) -> Answer:
    return Answer("s1", status, detail="because")


def test_a_usable_answer_is_passed_on_as_it_is() -> None:
    fallback = Scripted()
    asked = FallbackMentor("m", Scripted(GOOD), fallback).consult(
        REQUEST, INCUMBENT, [INCUMBENT], lost=False
    )
    assert [reply.answer for reply in asked.replies] == [GOOD]
    assert (asked.notice, asked.lost, fallback.asked) == (None, False, 0)


@pytest.mark.parametrize(
    ("status", "is_lost"),
    [
        (AnswerStatus.UNAVAILABLE, True),
        (AnswerStatus.TIMED_OUT, True),
        (AnswerStatus.REFUSED, True),
        (AnswerStatus.UNUSABLE, False),
    ],
)
def test_every_other_answer_is_stood_in_for(status: AnswerStatus, is_lost: bool) -> None:
    mentor = FallbackMentor("m", Scripted(bad(status)), Scripted(GOOD))
    asked = mentor.consult(REQUEST, INCUMBENT, [], lost=False)
    assert [(r.answer.status, r.is_fallback) for r in asked.replies] == [
        (status, False),
        (AnswerStatus.USABLE, True),
    ]
    assert isinstance(asked.notice, MentorLost) is is_lost
    assert asked.lost is is_lost


def test_without_a_fallback_there_is_none() -> None:
    mentor = FallbackMentor("m", Scripted(bad(AnswerStatus.UNAVAILABLE)))
    asked = mentor.consult(REQUEST, INCUMBENT, [], lost=False)
    assert len(asked.replies) == 1
    assert asked.notice == MentorLost("m", "unavailable: because")


def test_lost_and_back_are_said_once() -> None:
    away = bad(AnswerStatus.UNAVAILABLE)
    mentor = FallbackMentor("m", Scripted(away, away, bad(AnswerStatus.UNUSABLE), GOOD))
    notices, lost = [], False
    for _ in range(4):
        asked = mentor.consult(REQUEST, INCUMBENT, [], lost=lost)
        lost = asked.lost
        notices.append(asked.notice)
    assert notices == [MentorLost("m", "unavailable: because"), None, MentorBack("m"), None]


def test_a_cancelled_answer_is_nobodys_fault() -> None:
    fallback = Scripted()
    mentor = FallbackMentor("m", Scripted(bad(AnswerStatus.CANCELLED)), fallback)
    asked = mentor.consult(REQUEST, INCUMBENT, [], lost=False)
    assert (asked.notice, asked.lost, fallback.asked) == (None, False, 0)


def test_a_logged_answer_is_used_again() -> None:
    record = AnswerRecord("m", duration=timedelta(seconds=3))
    logged = Answer("s1", AnswerStatus.USABLE, GOOD.proposals, (record,))
    inner = Scripted()
    mentor = FallbackMentor("m", inner, None, {"s1": ProposalsReceived(1, logged)})
    (reply,) = mentor.consult(REQUEST, INCUMBENT, [], lost=False).replies
    assert (reply.answer, reply.waited, inner.asked) == (logged, timedelta(seconds=3), 0)


def test_more_than_asked_for_is_cut_off_and_said() -> None:
    many = Answer("s1", AnswerStatus.USABLE, tuple(Proposal(f"x{i}", "a") for i in range(5)))
    (reply,) = (
        FallbackMentor("m", Scripted(many)).consult(REQUEST, INCUMBENT, [], lost=False).replies
    )
    assert [p.proposal_id for p in reply.answer.proposals] == ["x0", "x1"]
    assert reply.answer.detail == "3 more proposals than requested"


@pytest.mark.parametrize("ids", [("", ""), ("x", "x"), ("s1/step4", "y")])
def test_ids_that_are_missing_or_taken_are_given_anew(ids: tuple[str, str]) -> None:
    answer = Answer("s1", AnswerStatus.USABLE, tuple(Proposal(i, "a") for i in ids))
    (reply,) = (
        FallbackMentor("m", Scripted(answer))
        .consult(REQUEST, INCUMBENT, [INCUMBENT], lost=False)
        .replies
    )
    assert [p.proposal_id for p in reply.answer.proposals] == ["s1/p1", "s1/p2"]


def test_usable_without_proposals_is_not_usable() -> None:
    empty = Answer("s1", AnswerStatus.USABLE)
    (reply,) = (
        FallbackMentor("m", Scripted(empty)).consult(REQUEST, INCUMBENT, [], lost=False).replies
    )
    assert reply.answer.status is AnswerStatus.UNUSABLE


def test_answers_of_the_mentor_are_counted_and_those_of_the_fallback_are_not() -> None:
    telemetry = Telemetry()
    mentor = FallbackMentor(
        "small",
        Scripted(bad(AnswerStatus.TIMED_OUT), GOOD),
        Scripted(GOOD),
        telemetry=telemetry,
    )
    mentor.consult(REQUEST, INCUMBENT, [], lost=False)
    assert mentor.ask(REQUEST, INCUMBENT, []).answer() is GOOD  # in a thread of its own
    counted = [(figure.mentor, figure.status) for figure in telemetry.report().answers]
    assert counted == [("small", "timed_out"), ("small", "usable")]
