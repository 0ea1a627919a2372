"""Directional feedback: what each move did to the loss, and where the gradient points.

After "The Importance of Directional Feedback for LLM-based Optimizers" (Nie et al., arXiv
2405.16434): an LLM improves on a solution when it is told in which direction to go, not only how
good each was. Here the direction has two parts: moves with the change of the loss, and for every
position the words that the gradient favours, ranked as HotFlip (Ebrahimi et al., ACL 2018) and
AutoPrompt (Shin et al., EMNLP 2020) rank them. Without hints the moves stand alone, without moves
the hints.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial

from mentor_service import prompts
from mentor_service.grammars import Slot
from mentor_service.likeness import canonical, plain_letters
from mentor_service.prompts import Move
from mentor_service.strategies import pool
from mentor_service.strategies.base import PromptedStrategy
from mentor_service.strategies.talk import Draft, Talk
from mentorgrad.model.advice import PositionHints, Wants
from mentorgrad.model.run import Candidate, CandidateSource

_HEAT = 0.3
"""Added to the temperature where few words are allowed, which repeat themselves soon."""


class Directional(PromptedStrategy):
    """See the module."""

    name = "directional"
    description = "what each move did to the loss, and the words that the gradient favours"
    wants = Wants(words=True, hints=True)
    near_is_known = False

    async def converse(self, talk: Talk) -> None:
        """Questions about the moves and the direction."""
        moves = _moves(talk)[: self.profile.top_k][::-1]
        present = talk.known.pool.get(talk.request.incumbent_id)
        shown = None if present is None or not present.text else pool.show(present)
        places = talk.request.hints if talk.hints != "none" else ()
        ids = [present.candidate_id] if present is not None else []
        ids += [item.candidate_id for move in moves for item in move]
        draft = Draft(
            partial(
                prompts.follow,
                moves=[Move(pool.show(one), pool.show(other)) for one, other in moves],
                present=shown,
                places=places,
            ),
            parents=tuple(dict.fromkeys(ids)),
        )
        if talk.hints != "grammar":
            await talk.propose(draft)
            return
        for share in talk.pattern_turns():
            patterns = (_pattern(talk),)
            await talk.propose(replace(draft, patterns=patterns, heat=_HEAT), share)


def _moves(talk: Talk) -> list[tuple[Candidate, Candidate]]:
    """Moves between candidates with different words, the largest change of the loss first: from
    each proposal's first parent, and from each projection to the next of the descent."""
    usable = {item.candidate_id: item for item in pool.ranked(talk.known)}
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


def _pattern(talk: Talk) -> tuple[Slot, ...]:
    """One line: at every position the present word, or one of a part of those that the gradient
    favours."""
    places = talk.request.hints[: min(talk.constraints.max_words, pool.MOST_PLACES)]
    return tuple(_slot(talk, place) for place in places)


def _slot(talk: Talk, place: PositionHints) -> Slot:
    tokens = [hint.token for hint in place.tokens[: talk.profile.hint_tokens]]
    words = [word.lower() for word in tokens if plain_letters(word)]
    if not talk.profile.json:
        words = talk.random.sample(words, (len(words) + 1) // 2)
    if plain_letters(place.current):
        words.append(place.current.lower())
    return tuple(dict.fromkeys(words)) or None
