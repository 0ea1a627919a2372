"""Questions that breed candidates from parents: `evoprompt`."""

from __future__ import annotations

from collections.abc import Sequence

from mentor_service.prompts.page import Message, Page, Shown, compose, entries, entry


def cross(page: Page, parents: Sequence[Shown]) -> Message:
    """Two parents, to be crossed and then mutated (genetic algorithm)."""
    things = page.things()
    return compose(
        page,
        entries(page, f"Two {things} to breed from:", parents),
        f"Mix parts of the two, then change a part of the mixture. {page.wanted('new')} made so.",
    )


def differ(page: Page, base: Shown, pair: Sequence[Shown], best: Shown) -> Message:
    """Where two candidates differ, put onto the best one, and crossed with a base (differential
    evolution)."""
    one, other = pair
    return compose(
        page,
        [
            f"First: {entry(page, one)}",
            f"Second: {entry(page, other)}",
            f"Best: {entry(page, best)}",
            f"Base: {entry(page, base)}",
        ],
        "Find where the first and the second differ, and change those parts. Put them into the "
        f"best in place of its own, and mix that with the base. {page.wanted('new')} made so.",
    )
