"""MaaO as its authors' code asks and reads: for comparison, not for use.

The released code of arXiv 2405.19732 shows the present round's candidates only, tells nothing of
the task, speaks of image classification whatever the task is, and takes the first line of the
reply, whatever it says, as the one proposal. The question here has the same faults in words of its
own. A line is cut to the constraints, as there, but never in silence.
"""

from __future__ import annotations

from mentor_service import prompts
from mentor_service.parsing import ParsedProposal, first_line
from mentor_service.strategies import shown_candidates
from mentor_service.strategies.base import PromptedStrategy
from mentor_service.strategies.conversation import Conversation
from mentorgrad.domain.advice import ProposalKind

_REPLY_TOKENS = 96


class MaaoReleased(PromptedStrategy):
    """See the module."""

    name = "maao_released"
    description = "maao with the faults of its authors' code, to compare with: no task, first line"
    kinds = frozenset({ProposalKind.TEXT})
    near_is_known = False

    async def converse(self, conversation: Conversation) -> None:
        """One question, and the first line of the reply to it."""
        conversation.ended = True
        ranked = shown_candidates.ranked(conversation.known)
        present = [item for item in ranked if item.stage == conversation.request.stage]
        shown = (present or ranked)[: self.profile.top_k][::-1]
        reply = await conversation.say(prompts.image_templates, _REPLY_TOKENS, shown=shown)
        line = first_line(reply)
        words = [word for word in line.split() if word.isalpha()]
        kept = words[: conversation.constraints.max_words]
        if kept != line.split():
            conversation.parsed.dropped["cut to fit"] += 1
        ids = tuple(item.candidate_id for item in shown)
        conversation.offer(ParsedProposal(" ".join(kept)), ids)
