"""Strategy ``examples``: proposes the example lines themselves, without an LLM.

A control for lines of a language model's input: what the examples carry that a text to continue
shows, apart from what the mentor's model makes of them.
"""

from __future__ import annotations

import random
from itertools import chain

from mentor_service.prompts import EXAMPLE_TASKS
from mentor_service.strategies.base import PromptedStrategy
from mentor_service.strategies.conversation import Conversation
from mentorgrad.domain.advice import AnswerRecord, ProposalKind, Wants
from mentorgrad.errors import InvalidInput


class Examples(PromptedStrategy):
    """The lines of the example tasks, verbatim, in an order drawn by the request's seed."""

    name = "examples"
    description = (
        "proposes the example lines of the texts to continue, verbatim, without an LLM (control)"
    )
    wants = Wants(words=False)
    kinds = frozenset({ProposalKind.TEXT})

    async def converse(self, conversation: Conversation) -> None:
        """Offers lines that were not proposed before; asks nothing.

        Raises:
            InvalidInput: Proposals are not lines of a language model's input (UNSUPPORTED_KIND).
        """
        if not conversation.asks_for_lines:
            raise InvalidInput(
                f"the strategy {self.name} proposes lines for language models, which "
                f"{conversation.known.open.card.objective or 'this objective'} does not use",
                reason="UNSUPPORTED_KIND",
            )
        conversation.ended = True
        seed = conversation.request.seed
        conversation.records.append(AnswerRecord(strategy=self.name, seed=seed))
        lines = _drawn(conversation.random)
        for line in lines:
            conversation.offer_line(line)
        if conversation.missing:
            conversation.notes.append(f"there are no more than {len(lines)} example lines")


def _drawn(draw: random.Random) -> list[str]:
    """All lines, one of each kind in turn."""
    kinds = zip(
        *((task.question, task.heading, task.beginning) for task in EXAMPLE_TASKS), strict=True
    )
    shuffled = [draw.sample(lines, len(lines)) for lines in kinds]
    return list(chain.from_iterable(zip(*shuffled, strict=True)))
