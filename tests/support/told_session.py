"""A session without a mentor, for the callbacks of other libraries' training loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mentorgrad.domain.advice import (
    Answer,
    AnswerStatus,
    Proposal,
    ProposalOutcome,
    ProposalStatus,
    Wants,
)
from mentorgrad.domain.run import Candidate, CandidateSource, Score


class Session:
    """Answers with the given texts, and remembers what it was told."""

    def __init__(self, *texts: str, status: AnswerStatus = AnswerStatus.USABLE) -> None:
        self.wants = Wants()
        self.recording = None
        self.stage = 0
        self.texts, self.status = texts, status
        self.pushed: list[tuple[int, str]] = []
        self.losses: list[float] = []
        self.candidates: list[Candidate] = []
        self.outcomes: Sequence[ProposalOutcome] = ()
        self.facts: dict[str, Any] = {}

    def push(self, step: int, loss: float, *, text: str, **_: Any) -> None:
        self.pushed.append((step, text))
        self.losses.append(loss)

    def candidate(self, text: str, loss: float, **facts: Any) -> Candidate:
        name = facts.get("candidate_id") or f"c{len(self.candidates)}"
        source = facts.get("source", CandidateSource.PROJECTION)
        self.candidates.append(Candidate(name, source, text=text, score=Score(loss)))
        return self.candidates[-1]

    def ask(self, count: int, **_: Any) -> Answer:
        found = tuple(Proposal(f"p{n}", text) for n, text in enumerate(self.texts))
        return Answer("s0", self.status, found)

    def report(self, outcomes: Sequence[ProposalOutcome], **facts: Any) -> None:
        self.outcomes, self.facts = outcomes, facts

    @property
    def statuses(self) -> dict[str, ProposalStatus]:
        return {item.proposal_id: item.status for item in self.outcomes}
