"""Questions that show a list of candidates and ask for more: `maao`, `leo`, `opro`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mentor_service.prompts.page import Message, Page, compose, entries, plain, quoted

_BUCKET = 5
"""Scores are shown in steps of this many, so that noise does not look like a difference."""


def trajectory(page: Page) -> Message:
    """The best so far, worst to best, and a wish for better ones."""
    if not page.profile.rules:
        return compose(
            page,
            entries(page, _EARLIER_POINTS if page.numbers else _EARLIER_TRIES),
            f"{page.wanted('new and different')}.",
        )
    return compose(
        page,
        entries(page, "Tried so far, the worst first:"),
        f"{page.wanted('new')}, some close to the best ones, some far away.",
    )


def explore(page: Page) -> Message:
    """All sorts of candidates, and a wish for ones that are unlike them and each other."""
    if not page.profile.rules:
        heading = _EARLIER_POINTS if page.numbers else _EARLIER_TRIES
        these = "these and from " if page.shown else ""
        wish = f"{page.wanted('new')}, far from {these}each other."
        return compose(page, entries(page, heading), wish)
    return compose(
        page,
        entries(page, "Tried so far, the worst first:"),
        f"Explore. {page.wanted('new')}, far from what was tried and far from each other, "
        "scattered over all that the rules allow.",
    )


def exploit(page: Page) -> Message:
    """The best candidates only, and a wish for ones near them."""
    if not page.profile.rules:
        return compose(
            page,
            entries(page, f"The best {page.things()} so far, the best one last:"),
            f"{page.wanted('new')}, nearly like the last one.",
        )
    return compose(
        page,
        entries(page, "The best so far, the best one last:"),
        f"Exploit. {page.wanted('new')} close to the best ones, each with a small change that may "
        "lower the loss.",
    )


def climb(page: Page) -> Message:
    """The best so far with bucketed scores, the highest last, and a wish for higher ones."""
    context = []
    if page.shown:
        context.append(f"{page.things().capitalize()} with their scores, the highest last:")
        context += [
            f"{plain(item.text)}: score {score}"
            for item, score in zip(page.shown, _scores(page), strict=True)
        ]
    if page.exemplars:
        context.append("Some texts, and the class of each:")
        context += [f"{quoted(page, row)}: {plain(row.label)}" for row in page.exemplars]
    higher = "a higher score than all of these" if page.shown else "a score as high as can be"
    return compose(page, context, f"{page.wanted('new')} with {higher}.")


_EARLIER_TRIES = "Earlier tries, the worst first, with their loss:"
_EARLIER_POINTS = "Points so far, the worst first, with their value:"


def _scores(page: Page) -> list[int]:
    """Scores from 0 to 100: for classes the mean probability of the right one (the geometric mean,
    ``exp(-loss)``); for functions, whose values have no scale, from the worst shown to the best."""
    losses = [item.loss for item in page.shown]
    if page.numbers:
        spread = max(losses) - min(losses) or 1.0
        shares: Sequence[float] = [(max(losses) - loss) / spread for loss in losses]
    else:
        shares = [math.exp(-max(loss, 0.0)) for loss in losses]
    return [_BUCKET * round(100 * share / _BUCKET) for share in shares]
