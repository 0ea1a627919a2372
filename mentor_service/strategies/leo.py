"""Strategy ``leo``: evolution with elitism; one question explores, one exploits.

After "Large Language Model-Based Evolutionary Optimizer: Reasoning with elitism" (LEO,
arXiv 2403.02054). Both of its pools are views of the run's pool: the exploring question shows
candidates from the best to the worst, the exploiting one only the best. Good results of exploration
are among the best in the next round, and so enter the exploited pool.
"""

from __future__ import annotations

from mentor_service import prompts
from mentor_service.strategies import shown_candidates
from mentor_service.strategies.base import PromptedStrategy
from mentor_service.strategies.conversation import Conversation
from mentor_service.strategies.drafts import Draft

_HEAT = 0.3
"""Added to the profile's temperature for exploration, subtracted for exploitation."""


class Leo(PromptedStrategy):
    """LEO: an exploring and an exploiting question per round."""

    name = "leo"
    description = (
        "two questions: one shows varied candidates and asks for scattered ones, one shows the "
        "best and asks for similar ones"
    )
    near_is_known = False

    async def converse(self, conversation: Conversation) -> None:
        """Asks for half of the missing proposals by exploration, for the rest by exploitation."""
        ranked = shown_candidates.ranked(conversation.known)
        top_k = self.profile.top_k
        far = Draft(prompts.explore, tuple(shown_candidates.spread(ranked, top_k)), heat=_HEAT)
        await conversation.propose(far, (conversation.missing + 1) // 2)
        elite = tuple(ranked[: max(1, top_k // 2)][::-1]) if top_k else ()
        if elite:
            await conversation.propose(Draft(prompts.exploit, elite, heat=-_HEAT))
