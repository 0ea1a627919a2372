"""Prompts that show a list of candidates and ask for more: `maao`, `leo`, `opro`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mentor_service.prompts.question_facts import (
    Message,
    QuestionFacts,
    compose,
    entries,
    plain,
    quoted,
)

_BUCKET = 5
"""Scores are rounded to multiples of this, so that noise does not look like a difference."""


def trajectory(facts: QuestionFacts) -> Message:
    """Shows the best candidates so far, worst first, and asks for better ones."""
    if not facts.profile.rules:
        return compose(
            facts,
            entries(facts, _EARLIER_POINTS if facts.numbers else _EARLIER_TRIES),
            f"{facts.wanted('new and different')}.",
        )
    return compose(
        facts,
        entries(facts, "Tried so far, the worst first:"),
        f"{facts.wanted('new')}, some close to the best ones, some far away.",
    )


def explore(facts: QuestionFacts) -> Message:
    """Shows varied candidates, and asks for ones that differ from them and from each other."""
    if not facts.profile.rules:
        heading = _EARLIER_POINTS if facts.numbers else _EARLIER_TRIES
        these = "these and from " if facts.shown else ""
        wish = f"{facts.wanted('new')}, far from {these}each other."
        return compose(facts, entries(facts, heading), wish)
    return compose(
        facts,
        entries(facts, "Tried so far, the worst first:"),
        f"Explore. {facts.wanted('new')}, far from what was tried and far from each other, "
        "scattered over all that the rules allow.",
    )


def exploit(facts: QuestionFacts) -> Message:
    """Shows the best candidates only, and asks for similar ones."""
    if not facts.profile.rules:
        return compose(
            facts,
            entries(facts, f"The best {facts.things()} so far, the best one last:"),
            f"{facts.wanted('new')}, nearly like the last one.",
        )
    return compose(
        facts,
        entries(facts, "The best so far, the best one last:"),
        f"Exploit. {facts.wanted('new')} close to the best ones, each with a small change that may "
        "lower the loss.",
    )


def climb(facts: QuestionFacts) -> Message:
    """Shows the best so far with rounded scores, the highest last, and asks for higher ones."""
    context = []
    if facts.shown:
        context.append(f"{facts.things().capitalize()} with their scores, the highest last:")
        context += [
            f"{plain(item.text)}: score {score}"
            for item, score in zip(facts.shown, rounded_scores(facts), strict=True)
        ]
    if facts.exemplars:
        context.append("Some texts, and the class of each:")
        context += [f"{quoted(facts, row)}: {plain(row.label)}" for row in facts.exemplars]
    higher = "a higher score than all of these" if facts.shown else "a score as high as can be"
    return compose(facts, context, f"{facts.wanted('new')} with {higher}.")


_EARLIER_TRIES = "Earlier tries, the worst first, with their loss:"
_EARLIER_POINTS = "Points so far, the worst first, with their value:"


def rounded_scores(facts: QuestionFacts) -> list[int]:
    """Rounded scores from 0 to 100. For classifiers, the geometric mean probability of the correct
    class, ``exp(-loss)``; for functions, whose values have no scale, linear from the worst shown to
    the best."""
    losses = [item.loss for item in facts.shown]
    if facts.numbers:
        spread = max(losses) - min(losses) or 1.0
        shares: Sequence[float] = [(max(losses) - loss) / spread for loss in losses]
    else:
        shares = [math.exp(-max(loss, 0.0)) for loss in losses]
    return [_BUCKET * round(100 * share / _BUCKET) for share in shares]
