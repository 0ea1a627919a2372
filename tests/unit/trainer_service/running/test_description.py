"""Whole runs with the control `description`."""

from __future__ import annotations

import dataclasses

import pytest

from mentorgrad.domain.advice import AnswerStatus, ProposalStatus
from mentorgrad.domain.event import MentorLost, ProposalsReceived, RestartDecided
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import Budget, MentorChoice, RunSpec, Stages
from tests.support.numerics import objective, tickets
from tests.unit.trainer_service.running.test_alternation import SPEC, Done, parts
from trainer_service.tasks.wordings import wordings

DESCRIBED = RunSpec(
    stages=Stages(count=2),
    mentor=MentorChoice("description", proposals=6),
    budget=Budget(gradient_steps=0),
)


def run(spec: RunSpec = DESCRIBED, n_tokens: int = 8) -> Done:
    """On the real encoder, whose vocabulary has the words of the wordings."""
    done = Done(spec, parts(objective=lambda *_: tickets(n_tokens=n_tokens)))
    assert done.state is RunState.SUCCEEDED
    return done


@pytest.mark.slow
@pytest.mark.parametrize("n_tokens", [6, 48])
def test_the_task_in_words_is_proposed_scored_and_returned(n_tokens: int) -> None:
    done = run(n_tokens=n_tokens)
    card = objective("label_prompt").card
    every = wordings(card.description, card.labels)
    (received,) = done.all(ProposalsReceived)
    texts = [p.text for p in received.answer.proposals]
    assert len(texts) == 6
    assert (texts == list(every[:6])) is (n_tokens == 48)
    (decided,) = done.all(RestartDecided)
    scored = [o for o in decided.outcomes if o.score is not None]
    assert len(scored) >= 4, "short wordings fit a short prompt"
    assert {o.status for o in decided.outcomes} <= {
        ProposalStatus.APPLIED,
        ProposalStatus.NOT_CHOSEN,
        ProposalStatus.TOO_LONG,
    }
    assert done.run.result is not None
    assert done.run.result.returned.text in every


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [False, True])
def test_where_it_has_nothing_to_say_the_run_goes_on_without(hidden: bool) -> None:
    spec = dataclasses.replace(SPEC, mentor=MentorChoice("description"))
    if hidden:
        choice = dataclasses.replace(DESCRIBED.mentor, hide_card=True)
        done = run(dataclasses.replace(DESCRIBED, mentor=choice))
    else:
        done = Done(spec)
    assert done.state is RunState.SUCCEEDED
    answers = [received.answer for received in done.all(ProposalsReceived)]
    assert {answer.status for answer in answers} == {AnswerStatus.REFUSED}
    assert all(("hide_card" if hidden else "words") in answer.detail for answer in answers)
    assert done.all(MentorLost)
    assert not any(decided.restarted for decided in done.all(RestartDecided))
