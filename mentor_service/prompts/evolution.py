"""Questions that breed candidates from parents: `evoprompt`."""

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
    """Two parents, to be crossed and then mutated (genetic algorithm)."""
    things = facts.things()
    return compose(
        facts,
        entries(facts, f"Two {things} to breed from:", parents),
        f"Mix parts of the two, then change a part of the mixture. {facts.wanted('new')} made so.",
    )


def differ(facts: QuestionFacts, base: Shown, pair: Sequence[Shown], best: Shown) -> Message:
    """Where two candidates differ, put onto the best one, and crossed with a base (differential
    evolution)."""
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
