"""The task's description is the first proposal of a run, and one of those that are asked for."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from mentorgrad.domain.advice import (
    Answer,
    AnswerStatus,
    Constraints,
    Outcomes,
    Proposal,
    ProposalOutcome,
    ProposalRequest,
    TaskCard,
)
from mentorgrad.domain.event import ProposalsReceived, RestartDecided
from mentorgrad.domain.run import Candidate, CandidateSource, Run, Score
from mentorgrad.domain.spec import Budget, Fallback, MentorChoice, RunSpec, Stages
from tests.support.numerics import function, objective
from tests.unit.trainer_service.running.test_alternation import Done, Scripted, parts
from trainer_service import run_composition
from trainer_service.job import WorkerJob
from trainer_service.mentors.controls import Description
from trainer_service.mentors.description_first import DescriptionFirst
from trainer_service.objectives.number_language import NumberLanguage
from trainer_service.protocols import Embedded, Mentor, Scored
from trainer_service.tasks.wordings import wordings

CARD = TaskCard("causal_prompt", "what a message is about", ("billing", "refund"))
FIRST = wordings(CARD.description, CARD.labels)[0]
START = Scored(Candidate("s0/start", text="some words", score=Score(1.0)), torch.zeros(2))
LINES = (Proposal("s0/p1", "Topic:"), Proposal("s0/p2", "What is it?"))
REQUEST = ProposalRequest("s0", 0, "s0/start", count=3)


class Texts(NumberLanguage):
    """Points whose proposals are texts, all of which fit."""

    def __init__(self) -> None:
        super().__init__(2, -1.0, 1.0, torch.device("cpu"))
        self.constraints = Constraints()

    def embed(self, proposal: Proposal, incumbent: torch.Tensor) -> Embedded:
        return Embedded(incumbent, ())


def wrapped(*answers: Any, card: TaskCard = CARD) -> tuple[DescriptionFirst, Scripted]:
    inner = Scripted(*answers)
    return DescriptionFirst(inner, Description(Texts(), card=card)), inner


def texts(answer: Answer) -> list[tuple[str, str]]:
    return [(proposal.proposal_id, proposal.text) for proposal in answer.proposals]


def test_it_is_one_of_the_proposals_and_in_front() -> None:
    mentor, inner = wrapped(LINES)
    answer = mentor.propose(REQUEST, START, [START])
    assert inner.requests == [dataclasses.replace(REQUEST, count=2)]
    assert texts(answer) == [
        ("s0/description", FIRST),
        ("s0/p1", "Topic:"),
        ("s0/p2", "What is it?"),
    ]
    assert [record.mentor for record in answer.records] == ["description"]
    assert answer.detail == ""


def test_later_answers_are_the_mentor_s_own() -> None:
    mentor, inner = wrapped(LINES)
    scored = Candidate("s0/description", CandidateSource.PROPOSAL, text=FIRST, score=Score(1.0))
    answer = mentor.propose(REQUEST, START, [START, Scored(scored, torch.zeros(2))])
    assert inner.requests == [REQUEST]
    assert answer.proposals == LINES


def test_a_single_proposal_is_the_description() -> None:
    mentor, inner = wrapped()
    answer = mentor.propose(dataclasses.replace(REQUEST, count=1), START, [START])
    assert texts(answer) == [("s0/description", FIRST)]
    assert (answer.request_id, inner.requests) == ("s0", [])


def test_it_waits_for_an_answer_that_can_be_used() -> None:
    mentor, _ = wrapped(AnswerStatus.TIMED_OUT, LINES)
    answer = mentor.propose(REQUEST, START, [START])
    assert (answer.status, answer.proposals) == (AnswerStatus.TIMED_OUT, ())
    later = mentor.propose(dataclasses.replace(REQUEST, stage=1), START, [START])
    assert texts(later)[0] == ("s1/description", FIRST)


@pytest.mark.parametrize("card", [TaskCard(), dataclasses.replace(CARD, labels=())])
def test_without_a_description_or_labels_it_is_left_out_and_said(card: TaskCard) -> None:
    mentor, inner = wrapped(LINES, AnswerStatus.REFUSED, card=card)
    answer = mentor.propose(REQUEST, START, [START])
    assert inner.requests == [REQUEST]
    assert (answer.status, answer.proposals) == (AnswerStatus.USABLE, LINES)
    assert answer.detail.startswith("the description is left out: the task has no description")
    answer = mentor.propose(REQUEST, START, [START])
    assert answer.detail.endswith("withholds them; as told")


def test_the_mentor_is_told_of_its_own_proposals() -> None:
    mentor, inner = wrapped()
    own = ProposalOutcome("s0/p1")
    mentor.report(Outcomes("s0", (ProposalOutcome("s0/description"), own)))
    mentor.report(Outcomes("s1", (ProposalOutcome("s1/description"),)))
    assert inner.outcomes == [Outcomes("s0", (own,))]


# -- in a run ---------------------------------------------------------------------------------


def built(**choice: Any) -> Mentor:
    spec = RunSpec(mentor=MentorChoice(**{"description_first": True, **choice}))
    how = run_composition.run_parts(WorkerJob("-", store="-"))
    return how.mentor(Run("r1", spec=spec), objective("label_prompt"))


@pytest.mark.slow
def test_the_spec_asks_for_it_with_every_control_but_the_one_that_begins_so() -> None:
    assert isinstance(built(name="random_tokens"), DescriptionFirst)
    assert isinstance(built(name="description"), Description)
    assert not isinstance(built(name="random_tokens", description_first=False), DescriptionFirst)


@pytest.mark.slow
def test_a_hidden_card_hides_the_description() -> None:
    hidden = built(name="random_tokens", hide_card=True).propose(REQUEST, START, [START])
    assert "`mentor.hide_card` withholds them" in hidden.detail
    assert len(hidden.proposals) == 3


@pytest.mark.slow
@pytest.mark.usefixtures("without_probe")
@pytest.mark.parametrize("answers", [True, False])
def test_a_run_scores_as_many_texts_with_it_as_without(answers: bool) -> None:
    """By a control, or by the fallback of a mentor that gives nothing."""
    given = MentorChoice("random_tokens", proposals=4, description_first=True)
    choice = given
    how = parts(objective=lambda *_: objective("label_prompt"))
    if not answers:
        choice = dataclasses.replace(given, name="small", fallback=Fallback.RANDOM_TOKENS)
        refusing = Scripted(AnswerStatus.REFUSED, AnswerStatus.REFUSED)
        how = dataclasses.replace(how, mentor=lambda *_: refusing)
    spec = RunSpec(mentor=choice, stages=Stages(3, first_steps=0), budget=Budget(gradient_steps=0))
    done = Done(spec, how)
    received = [
        event.answer for event in done.all(ProposalsReceived) if event.is_fallback != answers
    ]
    ids = [[proposal.proposal_id for proposal in answer.proposals] for answer in received]
    assert ids == [
        ["s0/description", "s0/p1", "s0/p2", "s0/p3"],
        ["s1/p1", "s1/p2", "s1/p3", "s1/p4"],
    ]
    assert received[0].records[-1].mentor == "description"
    first = next(c for c in done.candidates() if c.candidate_id == "s0/description")
    assert first.source is CandidateSource.PROPOSAL
    assert len(done.all(RestartDecided)[0].outcomes) == 4


@pytest.mark.slow
def test_numbers_have_no_description() -> None:
    mentor = DescriptionFirst(Scripted(LINES), Description(function("levy", 2).language, card=CARD))
    answer = mentor.propose(REQUEST, START, [START])
    assert "proposes words, and this objective has none" in answer.detail
    assert answer.proposals == LINES
