"""What every mentor promises: the controls here, and the remote one through a real service."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
import torch

from mentorgrad.domain.advice import (
    AdviseOpen,
    AnswerStatus,
    Batch,
    Constraints,
    Outcomes,
    PositionHints,
    Proposal,
    ProposalKind,
    ProposalOutcome,
    ProposalRequest,
    TaskCard,
    TokenHint,
)
from mentorgrad.domain.run import Candidate, Score, Snapshot
from mentorgrad.domain.spec import CONTROLS, RANDOM_SETTINGS
from mentorgrad.settings_space import Setting, SettingsSpace
from trainer_service.mentors.controls import Description, build_control
from trainer_service.mentors.description_first import DescriptionFirst
from trainer_service.mentors.remote import RemoteMentor
from trainer_service.mentors.shuffled import ShuffledMentor
from trainer_service.objectives.number_language import NumberLanguage
from trainer_service.protocols import Mentor, RandomWords, Scored
from trainer_service.training_settings import LEARNING_RATE

TEXT = Constraints(n_tokens=8, max_words=6)
CARD = TaskCard("label_prompt", "what it is", ("a", "b"))


class Texts(NumberLanguage):
    """Points whose proposals are texts."""

    def __init__(self) -> None:
        super().__init__(4, -10.0, 10.0, torch.device("cpu"))
        self.constraints = TEXT

    def random_proposal(
        self, generator: torch.Generator, words: RandomWords | None = None
    ) -> Proposal:
        number = int(torch.randint(1000, (1,), generator=generator))
        return Proposal(text=f"word {number}")


class WithSettings(NumberLanguage):
    """Points whose proposals are settings."""

    def __init__(self) -> None:
        super().__init__(4, -10.0, 10.0, torch.device("cpu"))
        space = SettingsSpace((LEARNING_RATE, Setting("rank", tuple(range(1, 9)))))
        self.constraints = Constraints(kind=ProposalKind.SETTINGS, settings_schema=space.schema)


POOL = [
    Scored(
        Candidate(f"s0/step{i}", step=i, text=f"red green {i}", score=Score(1.0 + i)),
        torch.full((4,), float(i)),
    )
    for i in range(4)
]


OTHERS = ["remote", "shuffled", "after the description"]


@pytest.fixture(params=[name for name in CONTROLS if name != "none"] + OTHERS)
def mentor(request: pytest.FixtureRequest) -> Iterator[Mentor]:
    if request.param in OTHERS:
        opened = AdviseOpen("run-1", CARD, TEXT)
        made: Mentor = RemoteMentor(
            "small", request.getfixturevalue("shared_mentor").address, opened
        )
        if request.param == "shuffled":
            made = ShuffledMentor(made, seed=1)
        elif request.param != "remote":
            made = DescriptionFirst(made, Description(Texts(), card=CARD))
    else:
        language = WithSettings() if request.param == RANDOM_SETTINGS else Texts()
        made = build_control(request.param, language, card=CARD)
    yield made
    made.close()


def ask(number: int = 0, count: int = 4, seed: int = 7) -> ProposalRequest:
    hints = (PositionHints(0, "red", (TokenHint("green", -0.5), TokenHint("blue", -0.1))),)
    seconds = timedelta(seconds=30)
    return ProposalRequest(f"s{number}", number, "s0/step0", count, seed, seconds, hints=hints)


def test_it_answers_what_was_asked(mentor: Mentor) -> None:
    mentor.observe(
        Batch(
            stage=0,
            snapshots=(Snapshot(1, 2.0, 0.1, 1.0, "red"),),
            candidates=tuple(s.candidate for s in POOL),
        )
    )
    answer = mentor.propose(ask(), POOL[0], POOL)
    assert answer.request_id == "s0"
    assert answer.status is AnswerStatus.USABLE
    assert 1 <= len(answer.proposals) <= 4
    ids = [p.proposal_id for p in answer.proposals]
    assert len(set(ids)) == len(ids)
    assert all(
        p.text or p.values or p.settings or p.parameters is not None for p in answer.proposals
    )
    (record, *_) = answer.records
    assert record.mentor
    assert record.duration >= timedelta(0)


def test_it_can_be_asked_again_and_told_what_became_of_it(mentor: Mentor) -> None:
    seen: set[str] = set()
    for number in range(3):
        answer = mentor.propose(ask(number, seed=number), POOL[0], POOL)
        assert answer.request_id == f"s{number}"
        seen |= {p.proposal_id for p in answer.proposals}
        outcomes = tuple(ProposalOutcome(p.proposal_id) for p in answer.proposals)
        mentor.report(Outcomes(answer.request_id, outcomes))
    assert len(seen) >= 3


def test_a_cancel_with_nothing_pending_does_no_harm(mentor: Mentor) -> None:
    other = threading.Thread(target=mentor.cancel)
    other.start()
    other.join()
    assert mentor.propose(ask(), POOL[0], POOL).status is AnswerStatus.USABLE


def test_it_may_be_closed_twice_and_told_things_afterwards(mentor: Mentor) -> None:
    mentor.close()
    mentor.observe(Batch(candidates=(POOL[0].candidate,)))
    mentor.report(Outcomes("s0"))
    mentor.close()
