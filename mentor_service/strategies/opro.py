"""Strategy ``opro``: shows up to 20 of the best with rounded scores, and some train rows.

After "Large Language Models as Optimizers" (Yang et al., arXiv 2309.03409): scores are rounded,
since a model overrates small differences; each question gets eight replies of few candidates each.
If the client sends no train rows, the question shows none.
"""

from __future__ import annotations

from mentor_service import prompts
from mentor_service.strategies.base import PromptedStrategy
from mentor_service.strategies.conversation import Conversation
from mentor_service.strategies.drafts import Draft
from mentorgrad.domain.advice import Wants

_MOST = 20
"""Maximum candidates shown."""

_REPLIES = 8
"""Replies per question."""


class Opro(PromptedStrategy):
    """OPRO: one question with rounded scores and train rows, answered by eight replies."""

    name = "opro"
    description = (
        "shows up to 20 of the best with rounded scores, the highest last, and some train rows"
    )
    wants = Wants(words=True, exemplars=True)
    shows_exemplars = True

    async def converse(self, conversation: Conversation) -> None:
        """Asks one question with several replies."""
        top_k = self.options.top_k
        top_k = min(_MOST, 2 * self.profile.top_k) if top_k is None else top_k
        shown = conversation.best(top_k)
        await conversation.propose(
            Draft(
                prompts.climb,
                tuple(shown),
                samples=_REPLIES,
                next_line=prompts.next_scored_line,
            )
        )
