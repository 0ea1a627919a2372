"""Prompts for crossover and mutation of candidates: `evoprompt`."""

from __future__ import annotations

from collections.abc import Sequence

from mentor_service.prompts.question_facts import (
    Message,
    QuestionFacts,
    Shown,
    compose,
    entries,
    entry,
)


def cross(facts: QuestionFacts, parents: Sequence[Shown]) -> Message:
    """Shows two parents, and asks for crossover and mutation (genetic algorithm)."""
    things = facts.things()
    return compose(
        facts,
        entries(facts, f"Two {things} to breed from:", parents),
        f"Mix parts of the two, then change a part of the mixture. {facts.wanted('new')} made so.",
    )


def differ(facts: QuestionFacts, base: Shown, pair: Sequence[Shown], best: Shown) -> Message:
    """Asks to change the parts in which two candidates differ, to put them into the best one, and
    to cross the result with a base (differential evolution)."""
    one, other = pair
    return compose(
        facts,
        [
            f"First: {entry(facts, one)}",
            f"Second: {entry(facts, other)}",
            f"Best: {entry(facts, best)}",
            f"Base: {entry(facts, base)}",
        ],
        "Find where the first and the second differ, and change those parts. Put them into the "
        f"best in place of its own, and mix that with the base. {facts.wanted('new')} made so.",
    )
