"""The question that the strategy `maao` puts to a small model, without asking one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from mentor_service.profiles import PROFILES
from mentor_service.protocols import Knowledge, Question, Reply
from mentor_service.strategies import registry
from mentorgrad.domain.advice import ProposalRequest


def question(request: ProposalRequest, known: Knowledge, options: Mapping[str, Any]) -> Question:
    """The first question of an answer.

    Args:
        request: What is asked for.
        known: What the session knows.
        options: The strategy's.
    """
    asked: list[Question] = []

    async def ask(one: Question) -> Reply:
        asked.append(one)
        texts = ("",) * one.samples
        return Reply(texts, 0, 0, 0, timedelta(0), ("stop",) * one.samples)

    asyncio.run(
        registry.create("maao", options, PROFILES["small"], "").propose(request, known, ask)
    )
    return asked[0]
