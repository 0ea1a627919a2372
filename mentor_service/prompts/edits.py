"""Prompts that ask to change one candidate: `gpo`, `directional`, `reflect`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mentor_service.prompts.question_facts import (
    Message,
    QuestionFacts,
    Shown,
    compose,
    entries,
    entry,
    labels,
    placed,
    plain,
    quoted,
    topic,
)
from mentorgrad.domain.advice import Exemplar, PositionHints


@dataclass(frozen=True)
class Move:
    """A step from one candidate to another."""

    before: Shown
    """Candidate before the move."""
    after: Shown
    """Candidate after the move."""


def amend(facts: QuestionFacts, present: Shown, budget: int) -> Message:
    """Shows a phrase and similar ones, and asks for small changes of it.

    Args:
        facts: The facts, with the similar candidates.
        present: Candidate to change.
        budget: Maximum number of changed words.
    """
    words = "one word" if budget == 1 else f"{budget} words"
    return compose(
        facts,
        [
            *entries(facts, "Phrases like it, the worst first, with their loss:"),
            "The phrase to change:",
            entry(facts, present),
        ],
        f"{facts.wanted('better')}: the phrase to change, with at most {words} of it changed.",
    )


def follow(
    facts: QuestionFacts,
    moves: Sequence[Move],
    present: Shown | None,
    places: Sequence[PositionHints],
) -> Message:
    """Shows moves with their change of the loss and the gradient's direction; asks to continue.

    Args:
        facts: The facts.
        moves: Moves, the least useful first.
        present: The incumbent; None: not known.
        places: Gradient hints per position of the incumbent.
    """
    context = ["Moves, and what each did to the loss:"] if moves else []
    context += [_move(move) for move in moves]
    if present is not None:
        context += [f"Now at: {plain(present.text)} (loss {present.loss:.3f})"]
    if places:
        context.append("Words that the gradient favours, place by place:")
        context += [_place(facts, place) for place in places]
    # The hints per position replace the list of all favoured words.
    facts = replace(facts, hints=())
    toward = ", further in the directions that lowered the loss" if moves else " of lower loss"
    return compose(facts, context, f"{facts.wanted('new')}{toward}.")


def criticise(facts: QuestionFacts, present: Shown) -> Message:
    """Shows a phrase and train rows that it misclassifies, and asks what is wrong with it."""
    words = f"of these words: {labels(facts.card)}"
    place = placed(facts.card, f"each {words}")
    choice = "the word that fits it best" if words in place else f"one {words}"
    lines = [
        f'The phrase "{plain(present.text)}" is put {place}.',
        f"Every text is then given {choice}. Topic: {topic(facts.card)}.",
        "These texts are given a wrong word, or hardly the right one:",
        *(_failure(facts, row) for row in facts.exemplars),
        "What is wrong with the phrase? Say it in one sentence.",
    ]
    return Message("", "\n".join(lines))


def mend(facts: QuestionFacts, present: Shown, critique: str) -> Message:
    """Shows a phrase, train rows that it misclassifies and a critique; asks for better phrases."""
    context = ["The phrase to improve:", entry(facts, present)]
    if facts.exemplars:
        context.append("Texts that it gets wrong, or hardly right:")
        context += [_failure(facts, row) for row in facts.exemplars]
    if critique:
        context.append(f"What is wrong with it: {plain(critique, 300)}")
    return compose(facts, context, f"{facts.wanted('better')} instead.")


def _move(move: Move) -> str:
    change = move.after.loss - move.before.loss
    way = "up" if change > 0 else "down"
    return f"{plain(move.before.text)} -> {plain(move.after.text)}: loss {way} by {abs(change):.3f}"


def _place(facts: QuestionFacts, place: PositionHints) -> str:
    tokens = place.tokens[: facts.profile.hint_tokens]
    better = ", ".join(
        f"{plain(hint.token)} ({hint.score:+.3f})" if facts.profile.details else plain(hint.token)
        for hint in tokens
    )
    return f"{place.position + 1}. instead of {plain(place.current)}: {better}"


def _failure(facts: QuestionFacts, row: Exemplar) -> str:
    taken = plain(row.predicted)
    wrong = f", is taken for {taken}" if taken and row.predicted != row.label else ""
    return f"{quoted(facts, row)}: is about {plain(row.label)}{wrong}"
