"""OPRO: up to 20 of the best so far with bucketed scores, the highest last, and some train rows.

After "Large Language Models as Optimizers" (Yang et al., arXiv 2309.03409): scores are rounded,
since a model makes too much of small differences; eight replies are drawn a step, each of as few
candidates as may be. Where the caller shows no train rows the question goes without.
"""

from __future__ import annotations

from mentor_service import prompts
from mentor_service.strategies import shown_candidates
from mentor_service.strategies.base import PromptedStrategy
from mentor_service.strategies.conversation import Conversation, Draft
from mentorgrad.domain.advice import Wants

_MOST = 20
"""Candidates shown at most."""

_A_STEP = 8
"""Replies drawn together."""


class Opro(PromptedStrategy):
    """See the module."""

    name = "opro"
    description = "up to 20 of the best with rounded scores, the highest last, and some train rows"
    wants = Wants(words=True, exemplars=True)
    shows_exemplars = True

    async def converse(self, conversation: Conversation) -> None:
        """One question, answered by several replies."""
        top_k = self.options.top_k
        top_k = min(_MOST, 2 * self.profile.top_k) if top_k is None else top_k
        shown = shown_candidates.best(conversation.known, top_k)
        await conversation.propose(Draft(prompts.climb, tuple(shown), samples=_A_STEP))
