"""MaaO: the best of the pool, worst to best with their losses, and a wish for better ones.

After "LLM as a Complementary Optimizer to Gradient Descent: A Case Study in Prompt Tuning"
(arXiv 2405.19732), without what its released code does wrong: the pool lasts over all rounds, the
task is described, every proposal goes back to be scored, and none is taken unseen.
"""

from __future__ import annotations

from mentor_service import prompts
from mentor_service.strategies import shown_candidates
from mentor_service.strategies.base import PromptedStrategy
from mentor_service.strategies.conversation import Conversation, Draft


class Maao(PromptedStrategy):
    """See the module."""

    name = "maao"
    description = (
        "shows the best candidates so far, worst to best with their losses, and asks for better"
    )

    async def converse(self, conversation: Conversation) -> None:
        """One question about the best candidates."""
        shown = shown_candidates.best(conversation.known, self.profile.top_k)
        await conversation.propose(Draft(prompts.trajectory, tuple(shown)))
