"""Builds the question of the strategy `maao` to a small model, without a model."""

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
    """Returns the first question that the strategy asks for a request.

    Args:
        request: The request for proposals.
        known: Knowledge of the session.
        options: Options of the strategy.
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
