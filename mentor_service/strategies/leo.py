"""LEO, evolution with elitism: one question explores, one exploits.

After "Large Language Model-Based Evolutionary Optimizer: Reasoning with elitism" (LEO,
arXiv 2403.02054). Both pools are read out of the run's own: exploring sees candidates from the
best to the worst, exploiting sees the best only. What an exploring question found that is good
enough is among the best by itself the next time, and so moves into the pool that is exploited.
"""

from __future__ import annotations

from mentor_service import prompts
from mentor_service.strategies import shown_candidates
from mentor_service.strategies.base import PromptedStrategy
from mentor_service.strategies.conversation import Conversation, Draft

_HEAT = 0.3
"""By how much the two questions' temperatures differ from the profile's."""


class Leo(PromptedStrategy):
    """See the module."""

    name = "leo"
    description = (
        "two questions: one sees all sorts of candidates and asks for scattered ones, one sees the "
        "best and asks for near ones"
    )
    near_is_known = False

    async def converse(self, conversation: Conversation) -> None:
        """Explores with one half of what is missing, and exploits with the rest."""
        ranked = shown_candidates.ranked(conversation.known)
        top_k = self.profile.top_k
        far = Draft(prompts.explore, tuple(shown_candidates.spread(ranked, top_k)), heat=_HEAT)
        await conversation.propose(far, (conversation.missing + 1) // 2)
        elite = tuple(ranked[: max(1, top_k // 2)][::-1]) if top_k else ()
        if elite:
            await conversation.propose(Draft(prompts.exploit, elite, heat=-_HEAT))
