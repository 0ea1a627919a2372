"""What the mentor's unit tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mentor_service.protocols import Knowledge
from mentorgrad.domain.advice import AdviseOpen, Constraints, TaskCard
from mentorgrad.domain.run import Candidate, CandidateSource, Score

CARD = TaskCard(
    "label_prompt",
    "what a customer's message to an online shop is about",
    ("billing", "refund", "delivery", "account", "defect", "cancellation"),
)


@pytest.fixture
def candidate() -> Callable[..., Candidate]:
    def make(name: str, text: str, loss: float, source: str = "projection") -> Candidate:
        return Candidate(name, CandidateSource(source), text=text, score=Score(loss, 0.5, 60))

    return make


@pytest.fixture
def knowledge() -> Callable[..., Knowledge]:
    def make(*pool: Candidate, constraints: Constraints | None = None, **opened: Any) -> Knowledge:
        limits = constraints or Constraints(n_tokens=8, max_words=8)
        return Knowledge(
            open=AdviseOpen("session", CARD, limits, **opened),
            snapshots=(),
            pool={item.candidate_id: item for item in pool},
            outcomes=(),
        )

    return make
