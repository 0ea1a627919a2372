"""Strategy ``maao``: shows the best candidates, worst first with their losses; asks for better.

After "LLM as a Complementary Optimizer to Gradient Descent: A Case Study in Prompt Tuning"
(arXiv 2405.19732), without the faults of its released code: the pool spans all rounds, the task is
described, and every proposal is scored before it is used.
"""

from __future__ import annotations

from mentor_service import prompts
from mentor_service.strategies import shown_candidates
from mentor_service.strategies.base import PromptedStrategy
from mentor_service.strategies.conversation import Conversation
from mentor_service.strategies.drafts import Draft
from mentorgrad.domain.advice import ProposalKind


class Maao(PromptedStrategy):
    """MaaO: one question that shows the best candidates so far; of settings, the latest stages."""

    name = "maao"
    description = (
        "shows the best candidates so far with their losses, worst first, and asks for better ones"
    )

    kinds = frozenset(ProposalKind)

    async def converse(self, conversation: Conversation) -> None:
        """Asks one question that shows the best candidates, or what settings led to."""
        if conversation.constraints.kind is ProposalKind.SETTINGS:
            known = shown_candidates.under_settings(conversation.known)
            latest = known[max(0, len(known) - self.profile.top_k) :]
            await conversation.propose(Draft(prompts.settings, tuple(latest)))
            return
        shown = conversation.best(self.profile.top_k)
        await conversation.propose(
            Draft(prompts.trajectory, tuple(shown), next_line=prompts.next_line)
        )
