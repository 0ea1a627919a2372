"""LEO without history: scattered candidates by a model that sees no earlier one.

What the trajectory is worth to an LLM shows against this: the same model, task and form of reply.
"""

from __future__ import annotations

from mentor_service import prompts
from mentor_service.strategies.base import PromptedStrategy
from mentor_service.strategies.conversation import Conversation, Draft
from mentorgrad.domain.advice import Wants


class LeoRandom(PromptedStrategy):
    """See the module."""

    name = "leo_random"
    description = "shows no candidates at all and asks for scattered ones"
    wants = Wants(words=False)

    async def converse(self, conversation: Conversation) -> None:
        """One question about the task alone."""
        await conversation.propose(Draft(prompts.explore, heat=0.3))
