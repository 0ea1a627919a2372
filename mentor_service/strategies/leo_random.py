"""Strategy ``leo_random``: asks for scattered candidates without showing any history.

A baseline for the value of the trajectory: same model, same task, same form of reply.
"""

from __future__ import annotations

from mentor_service import prompts
from mentor_service.strategies.base import PromptedStrategy
from mentor_service.strategies.conversation import Conversation
from mentor_service.strategies.drafts import Draft
from mentorgrad.domain.advice import Wants


class LeoRandom(PromptedStrategy):
    """LEO's exploring question without history; a baseline."""

    name = "leo_random"
    description = "shows no candidates and asks for scattered ones (baseline without history)"
    wants = Wants(words=False)

    async def converse(self, conversation: Conversation) -> None:
        """Asks one question that describes the task only."""
        await conversation.propose(Draft(prompts.explore, heat=0.3))
