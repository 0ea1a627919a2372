"""Strategy ``gpo``: changes a few words of one candidate, with a decreasing edit budget.

After "Unleashing the Potential of Large Language Models as Prompt Optimizers: Analogical Analysis
with Gradient-based Model Optimizers" (Tang et al., arXiv 2402.17564): the past candidates shown are
the three most similar by embedding, and the latest; the edit budget decays as a cosine, like a
learning rate; no candidate is changed twice. Without embeddings, similarity is word overlap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from mentor_service import prompts
from mentor_service.parsing import ParsedProposal
from mentor_service.similarity import edit_distance
from mentor_service.strategies import shown_candidates
from mentor_service.strategies.base import PromptedStrategy
from mentor_service.strategies.conversation import Conversation
from mentor_service.strategies.drafts import Draft
from mentorgrad.domain.advice import ProposalKind, Wants
from mentorgrad.domain.run import Candidate, CandidateSource

_RELEVANT = 3
"""Similar candidates shown, besides the latest."""

_PATTERNS = 2
"""Sets of changeable positions per grammar."""


class Gpo(PromptedStrategy):
    """GPO: edits one candidate with a budget of changed words."""

    name = "gpo"
    description = (
        "changes a few words of one candidate, fewer over the run, and shows the most similar past "
        "candidates"
    )
    wants = Wants(words=True, embeddings=True)
    kinds = frozenset({ProposalKind.TEXT})
    near_is_known = False
    own_options: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "edit_words": {
            "type": "integer",
            "minimum": 1,
            "maximum": 64,
            "description": "Maximum changed words at the start of a run, limited to half of a "
            "candidate's words; it decreases to one word at the end. Default: half.",
        }
    }

    async def converse(self, conversation: Conversation) -> None:
        """Asks to edit the best candidate that was not edited yet."""
        chosen = self._choose(conversation)
        if chosen is None:
            await conversation.propose(Draft(prompts.trajectory))
            return
        words = shown_candidates.plain_words(chosen, conversation.constraints.max_words)
        most = int(self.options.own.get("edit_words", conversation.constraints.max_words))
        most = min(most, (len(words) + 1) // 2)
        budget = edit_budget(most, conversation.request.progress)

        def check(found: ParsedProposal) -> str:
            far = edit_distance(words, tuple(found.text.split())) > budget
            return f"more than {budget} words changed" if far else ""

        shown = _relevant(conversation, chosen)
        parents = (chosen.candidate_id, *(item.candidate_id for item in shown))
        draft = Draft(
            partial(prompts.amend, present=shown_candidates.show(chosen), budget=budget),
            shown,
            parents=parents,
            base_id=chosen.candidate_id,
            check=check,
        )
        for share in conversation.pattern_turns():
            patterns = _patterns(conversation, words, budget)
            await conversation.propose(replace(draft, patterns=patterns), share)

    def _choose(self, conversation: Conversation) -> Candidate | None:
        """The best candidate that was not edited yet; if all were, the best one."""
        used = {
            item.parents[0]
            for item in conversation.known.pool.values()
            if item.source is CandidateSource.PROPOSAL and item.parents
        }
        usable = [
            item
            for item in shown_candidates.ranked(conversation.known)
            if shown_candidates.plain_words(item, 1)
        ]
        fresh = [item for item in usable if item.candidate_id not in used]
        return next(iter(fresh or usable), None)


def edit_budget(most: int, progress: float) -> int:
    """Maximum changed words: `most` at progress 0, 1 at progress 1, with cosine decay."""
    return 1 + round((most - 1) * 0.5 * (1 + math.cos(math.pi * progress)))


def _relevant(conversation: Conversation, chosen: Candidate) -> tuple[Candidate, ...]:
    others = [item for item in shown_candidates.ranked(conversation.known) if item is not chosen]
    if not others or not conversation.profile.top_k:
        return ()
    order = {name: number for number, name in enumerate(conversation.known.pool)}
    latest = max(others, key=lambda item: order[item.candidate_id])
    by_similarity = sorted(
        others, key=lambda item: -shown_candidates.alike(conversation.known, chosen, item)
    )
    shown = {item.candidate_id: item for item in (*by_similarity[:_RELEVANT], latest)}
    return tuple(sorted(shown.values(), key=lambda item: -item.score.loss))


def _patterns(
    conversation: Conversation, words: tuple[str, ...], budget: int
) -> tuple[tuple[str | None, ...], ...]:
    """Random patterns that allow `budget` words to change and fix the others."""
    drawn = {
        tuple(sorted(conversation.random.sample(range(len(words)), budget)))
        for _ in range(_PATTERNS)
    }
    return tuple(
        tuple(None if place in free else word for place, word in enumerate(words))
        for free in sorted(drawn)
    )
