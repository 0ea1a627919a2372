"""Strategy ``maao_released``: MaaO with the faults of its authors' code; for comparison only.

The released code of arXiv 2405.19732 shows only the candidates of the current round, does not
describe the task, asks for image classification whatever the task is, and takes the first line of
the reply as the only proposal. The prompt here has the same faults in different words. A line is
truncated to the constraints, as in the original, but the truncation is recorded.
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
    """MaaO as released: candidates of the current stage, first line of the reply."""

    name = "maao_released"
    description = (
        "maao with the faults of its authors' code (no task, first line only), for comparison"
    )
    kinds = frozenset({ProposalKind.TEXT})
    near_is_known = False

    async def converse(self, conversation: Conversation) -> None:
        """Asks one question; the first line of the reply is the proposal."""
        conversation.ended = True
        ranked = shown_candidates.ranked(conversation.known)
        present = [item for item in ranked if item.stage == conversation.request.stage]
        shown = (present or ranked)[: self.profile.top_k][::-1]
        reply = await conversation.say(prompts.image_templates, _REPLY_TOKENS, shown=shown)
        line = first_line(reply)
        words = [word for word in line.split() if word.isalpha()]
        kept = words[: conversation.constraints.max_words]
        if kept != line.split():
            conversation.parsed.dropped["truncated to fit"] += 1
        ids = tuple(item.candidate_id for item in shown)
        conversation.offer(ParsedProposal(" ".join(kept)), ids)
