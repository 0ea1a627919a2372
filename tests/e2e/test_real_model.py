"""Every strategy against the real small model, and a service with it: what must hold of any answer
holds of its own, whatever it says."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from mentor_service.composition import MentorServer
from mentor_service.profiles import PROFILES
from mentor_service.protocols import Knowledge, Question, Reply
from mentor_service.similarity import canonical
from mentor_service.strategies import registry
from mentorgrad import AsyncMentorClient
from mentorgrad.domain.advice import (
    AdviseOpen,
    AnswerStatus,
    Constraints,
    ProposalKind,
    TaskCard,
)
from tests.support.lasting import Lasting
from tests.support.told_strategy import candidate, request, told

COUNT = 4


class Asking:
    """The real backend, as a session offers it; keeps what it was asked."""

    def __init__(self, llama: Any) -> None:
        self._llama = llama
        self.questions: list[Question] = []

    async def __call__(self, question: Question) -> Reply:
        self.questions.append(question)
        reply: Reply = await self._llama.ask(question, 120.0)
        return reply


@pytest.mark.parametrize("name", list(registry.BUILT_IN))
async def test_words_of_the_real_model_are_used_or_typed(name: str, llama: Any) -> None:
    known, ask = told(name), Asking(llama)
    strategy = registry.create(name, {"calls": 1}, PROFILES["small"], "smollm2")
    answer = await strategy.propose(request(COUNT), known, ask)
    assert (answer.status is AnswerStatus.USABLE) == bool(answer.proposals)
    assert answer.status in (AnswerStatus.USABLE, AnswerStatus.UNUSABLE)
    assert answer.proposals or answer.detail
    assert len(answer.proposals) <= COUNT
    texts = [item.text for item in answer.proposals]
    assert len(set(texts)) == len(texts)
    assert not {canonical(item.text) for item in known.pool.values()} & set(texts)
    for item in answer.proposals:
        words = item.text.split(" ")
        assert 1 <= len(words) <= known.open.constraints.max_words
        assert all(word.isalpha() for word in words)
        assert set(item.parents) <= set(known.pool)
        assert item.base_id in {"", *known.pool}
    assert len(answer.records) == len(ask.questions)
    for record, question in zip(answer.records, ask.questions, strict=True):
        assert len(record.raw_replies) == question.samples
        assert record.question.endswith(question.user)
        assert record.prompt_tokens > 0
        assert 0 < record.reply_tokens <= question.samples * question.max_tokens
        assert record.duration.total_seconds() > 0
        assert (record.strategy, record.model, record.profile) == (name, "smollm2", "small")


@pytest.mark.parametrize(("name", "dimensions"), [("leo", 2), ("maao", 10)])
async def test_points_of_the_real_model_lie_within_the_bounds(
    name: str, dimensions: int, llama: Any
) -> None:
    count = 2  # numbers take the model a while
    limits = Constraints(kind=ProposalKind.NUMBERS, dimensions=dimensions, lower=-5.12, upper=5.12)
    draw = random.Random(dimensions)
    points = [[draw.uniform(-4, 4) / (n + 1) for _ in range(dimensions)] for n in range(4)]
    pool = [
        candidate(f"c{n}", " ".join(f"{x:.4f}" for x in point), _rastrigin(point), "snapshot")
        for n, point in enumerate(points)
    ]
    opened = AdviseOpen("s", TaskCard("function", "rastrigin"), limits, name)
    known = Knowledge(opened, (), {item.candidate_id: item for item in pool}, ())
    strategy = registry.create(name, {"calls": 1}, PROFILES["small"], "smollm2")
    answer = await strategy.propose(request(count, bare=True), known, Asking(llama))
    assert answer.status in (AnswerStatus.USABLE, AnswerStatus.UNUSABLE), answer.detail
    for item in answer.proposals:
        assert len(item.values) == dimensions
        assert all(-5.12 <= value <= 5.12 for value in item.values)
    assert len({item.values for item in answer.proposals}) == len(answer.proposals) <= count
    assert "out of bounds" not in answer.detail


def _rastrigin(point: list[float]) -> float:
    return sum(x * x - 10 * math.cos(2 * math.pi * x) + 10 for x in point)


async def test_a_served_model_is_told_before_it_is_asked(llama: Any) -> None:
    server = MentorServer(Lasting(llama), PROFILES["small"])
    labels = ("billing", "refund")
    async with (
        AsyncMentorClient(await server.start()) as mentor,
        mentor.session("what a message is about", labels=labels, seed=5) as session,
    ):
        for loss, text in ((0.9, "ticket ing sell"), (0.7, "message regarding money")):
            session.candidate(text, loss)
        answer = await session.ask(2)
    await server.stop(0)
    assert answer.status in (AnswerStatus.USABLE, AnswerStatus.UNUSABLE)
    assert {proposal.parents for proposal in answer.proposals} <= {
        ("s0/step0/words", "s0/step0/words.2")
    }
    (record, *_) = answer.records
    assert record.model.endswith(".gguf")
    assert record.raw_replies
    assert record.reply_tokens > 0
    assert "billing, refund" in record.question
    assert record.question.index("ticket ing") < record.question.index("message regarding")
