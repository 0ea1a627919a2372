"""Strategy ``directional``: shows how moves changed the loss, and the gradient's direction.

After "The Importance of Directional Feedback for LLM-based Optimizers" (Nie et al., arXiv
2405.16434): an LLM improves a solution better if told the direction of improvement, not only the
scores. The direction has two parts: moves with the change of the loss, and for every position the
words that the gradient favours, ranked as in HotFlip (Ebrahimi et al., ACL 2018) and AutoPrompt
(Shin et al., EMNLP 2020). If one of the two parts is missing, only the other is shown.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial

from mentor_service import prompts
from mentor_service.grammars import Slot
from mentor_service.prompts import Move
from mentor_service.similarity import canonical, plain_letters
from mentor_service.strategies import shown_candidates
from mentor_service.strategies.base import PromptedStrategy
from mentor_service.strategies.conversation import Conversation
from mentor_service.strategies.drafts import Draft
from mentorgrad.domain.advice import PositionHints, Wants
from mentorgrad.domain.run import Candidate, CandidateSource

_HEAT = 0.3
"""Added to the temperature if a grammar allows few words, to avoid repetition."""


class Directional(PromptedStrategy):
    """Directional feedback: moves with their loss changes, and gradient hints."""

    name = "directional"
    description = "shows how each move changed the loss, and the words that the gradient favours"
    wants = Wants(words=True, hints=True)
    near_is_known = False

    async def converse(self, conversation: Conversation) -> None:
        """Asks with moves and hints; with grammars, several times with different patterns."""
        moves = _moves(conversation)[: self.profile.top_k][::-1]
        present = conversation.known.pool.get(conversation.request.incumbent_id)
        shown = None if present is None or not present.text else shown_candidates.show(present)
        places = conversation.request.hints if conversation.hints != "none" else ()
        ids = [present.candidate_id] if present is not None else []
        ids += [item.candidate_id for move in moves for item in move]
        draft = Draft(
            partial(
                prompts.follow,
                moves=[
                    Move(shown_candidates.show(one), shown_candidates.show(other))
                    for one, other in moves
                ],
                present=shown,
                places=places,
            ),
            parents=tuple(dict.fromkeys(ids)),
        )
        if conversation.hints != "grammar":
            await conversation.propose(draft)
            return
        for share in conversation.pattern_turns():
            patterns = (_pattern(conversation),)
            await conversation.propose(replace(draft, patterns=patterns, heat=_HEAT), share)


def _moves(conversation: Conversation) -> list[tuple[Candidate, Candidate]]:
    """Moves between candidates with different words, the largest change of the loss first: from
    each proposal's first parent to it, and between consecutive projections of a stage."""
    usable = {item.candidate_id: item for item in shown_candidates.ranked(conversation.known)}
    found = []
    descent: list[Candidate] = []
    for item in usable.values():
        if item.source is CandidateSource.PROPOSAL:
            parent = usable.get(item.parents[0]) if item.parents else None
            if parent is not None:
                found.append((parent, item))
        else:
            descent.append(item)
    descent.sort(key=lambda item: (item.stage, item.step))
    found += [
        (one, other) for one, other in itertools.pairwise(descent) if one.stage == other.stage
    ]
    found = [move for move in found if canonical(move[0].text) != canonical(move[1].text)]
    return sorted(found, key=lambda move: -abs(move[1].score.loss - move[0].score.loss))


def _pattern(conversation: Conversation) -> tuple[Slot, ...]:
    """Pattern of a line: at every position, the current word or one of a random half of those that
    the gradient favours."""
    places = conversation.request.hints[
        : min(conversation.constraints.max_words, shown_candidates.MOST_PLACES)
    ]
    return tuple(_slot(conversation, place) for place in places)


def _slot(conversation: Conversation, place: PositionHints) -> Slot:
    tokens = [hint.token for hint in place.tokens[: conversation.profile.hint_tokens]]
    words = [word.lower() for word in tokens if plain_letters(word)]
    if not conversation.profile.json:
        words = conversation.random.sample(words, (len(words) + 1) // 2)
    if plain_letters(place.current):
        words.append(place.current.lower())
    return tuple(dict.fromkeys(words)) or None
