"""Strategy ``reflect``: asks for a critique of misclassified rows, then for a better text.

After ProTeGi ("Automatic Prompt Optimization with Gradient Descent and Beam Search", Pryzant et
al., arXiv 2305.03495), which asks for a critique of failures and then for an edit, and GEPA
(Agrawal et al., arXiv 2507.19457), which samples its parent from the Pareto frontier: candidates
that are best on some example. Without train rows there is no critique; without losses per row, the
parent is the best candidate. For a line of a language model's input, the question is a text to
continue, which shows failures and better lines of other tasks instead of a critique.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from mentor_service import grammars, prompts
from mentor_service.prompts import Shown
from mentor_service.strategies import shown_candidates
from mentor_service.strategies.base import PromptedStrategy
from mentor_service.strategies.conversation import Conversation
from mentor_service.strategies.drafts import Draft
from mentorgrad.domain.advice import Exemplar, ProposalKind, Wants
from mentorgrad.domain.run import Candidate
from mentorgrad.errors import InvalidInput

_SENTENCE = 160
"""Maximum characters of a critique, for profiles with grammars."""

_SENTENCE_TOKENS = 80

_RIGHT = math.log(2)
"""Below this loss, in nats, a row is certainly classified correctly: probability above 1/2."""


class Reflect(PromptedStrategy):
    """Reflection: a critique of failures, then an edit of one candidate."""

    name = "reflect"
    description = "asks for a critique of misclassified rows, then for a better text"
    wants = Wants(words=True, exemplars=True)
    kinds = frozenset({ProposalKind.TEXT})
    near_is_known = False
    own_options: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "failures": {
            "type": "integer",
            "minimum": 1,
            "maximum": 50,
            "description": "Maximum misclassified rows shown. Default: the profile's.",
        }
    }

    async def converse(self, conversation: Conversation) -> None:
        """Asks for a critique of the failures, then for edits."""
        parent = _parent(conversation)
        if parent is None:
            await conversation.propose(Draft(prompts.trajectory, next_line=prompts.next_line))
            return
        most = int(self.options.own.get("failures", self.profile.exemplars))
        conversation.exemplars = tuple(_failures(conversation, parent)[:most])
        present = shown_candidates.show(parent)
        # In a text to continue, the better lines of the other tasks stand in for a critique.
        criticised = conversation.exemplars and not conversation.continues
        critique = await self._critique(conversation, present) if criticised else ""
        await conversation.propose(
            Draft(
                partial(prompts.mend, present=present, critique=critique),
                parents=(parent.candidate_id,),
                base_id=parent.candidate_id,
                next_line=partial(prompts.better_line, present=present),
            )
        )

    async def _critique(self, conversation: Conversation, present: Shown) -> str:
        """Asks for a critique, with as many rows as fit the context."""
        grammar = "" if self.profile.json else grammars.sentence(_SENTENCE)
        write = partial(prompts.criticise, present=present)
        while conversation.exemplars:
            try:
                return await conversation.say(write, _SENTENCE_TOKENS, grammar)
            except InvalidInput as error:
                if error.reason != "QUESTION_TOO_LONG":
                    raise
                conversation.exemplars = conversation.exemplars[: len(conversation.exemplars) // 2]
        return ""


def frontier(losses: np.ndarray) -> list[int]:
    """Number of examples on which each candidate is the best; 0 if another candidate is best on the
    same examples and more.

    Args:
        losses: Losses, (candidates, examples).
    """
    losses = np.where(np.isnan(losses), np.inf, losses)
    least = losses.min(axis=0)
    wins = [frozenset(np.flatnonzero(row == least).tolist()) for row in losses]
    return [0 if any(mine < other for other in wins) else len(mine) for mine in wins]


def _parent(conversation: Conversation) -> Candidate | None:
    """Samples a parent from the frontier; without losses per row, the best candidate."""
    ranked = conversation.ranked()
    rows = conversation.known.exemplar_losses
    measured = [item for item in ranked if item.candidate_id in rows]
    widths = Counter(len(rows[item.candidate_id]) for item in measured)
    if not widths:
        return ranked[0] if ranked else None
    width = widths.most_common(1)[0][0]
    measured = [item for item in measured if len(rows[item.candidate_id]) == width]
    weights = frontier(np.stack([rows[item.candidate_id] for item in measured])) if width else []
    if not any(weights):
        return ranked[0]
    return conversation.random.choices(measured, weights)[0]


def _failures(conversation: Conversation, parent: Candidate) -> list[Exemplar]:
    """Misclassified rows, the highest loss first: by the parent's own losses if known, otherwise
    those that the incumbent misclassifies."""
    exemplars = conversation.request.exemplars
    own = conversation.known.exemplar_losses.get(parent.candidate_id)
    if own is not None and len(own) == len(exemplars):
        # The incumbent's predictions do not apply to another candidate.
        is_incumbent = parent.candidate_id == conversation.request.incumbent_id
        order = sorted(range(len(own)), key=lambda place: -_finite(float(own[place])))
        rows = [exemplars[place] for place in order if not own[place] <= _RIGHT]
        return rows if is_incumbent else [replace(row, predicted="") for row in rows]
    wrong = [row for row in exemplars if row.predicted != row.label]
    return sorted(wrong, key=lambda row: -_finite(row.loss))


def _finite(loss: float) -> float:
    return loss if loss == loss else float("inf")
