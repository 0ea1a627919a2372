"""Ids of runs and experiments by their beginnings: a command takes any that only one id has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mentorgrad.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from mentorgrad.cli.support.service_access import ExperimentQueries
    from mentorgrad.domain.query import RunReader

_WHOLE = 26
"""Characters of a whole id."""

_SHORT = 10
"""Characters of a short id: the time to the millisecond."""

_NAMED = 5
"""Matches that an error names at most."""

_PAGE = 1000


def run_id(reader: RunReader, given: str) -> str:
    """The id of the run whose id is, or begins with, the given text.

    Raises:
        NotFound: There is none.
        InvalidInput: Several begin with it; names them.
    """

    def page(token: str) -> tuple[list[str], str]:
        found = reader.list_runs(page_size=_PAGE, page_token=token)
        return [run.run_id for run in found.runs], found.next_page_token

    return _whole(given, reader.get_run, page, "runs")


def experiment_id(reader: ExperimentQueries, given: str) -> str:
    """The id of the experiment whose id is, or begins with, the given text.

    Raises:
        NotFound: There is none.
        InvalidInput: Several begin with it; names them.
    """

    def page(token: str) -> tuple[list[str], str]:
        found = reader.list_experiments(_PAGE, token)
        return [item.experiment_id for item in found.experiments], found.next_page_token

    return _whole(given, reader.get_experiment, page, "experiments")


def shortened(ids: Sequence[str]) -> dict[str, str]:
    """Maps each id to its beginning that no other of them has, of at least `_SHORT` characters."""
    ordered = sorted(set(ids))
    short = {}
    for before, whole, after in zip(["", *ordered], ordered, [*ordered[1:], ""], strict=False):
        shared = max(_shared(whole, before), _shared(whole, after))
        short[whole] = whole[: max(_SHORT, shared + 1)]
    return short


def _shared(one: str, other: str) -> int:
    """Length of the common beginning of two texts."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


Page = Callable[[str], tuple[list[str], str]]
"""A page's token, empty for the first → the ids of the page, and the next page's token."""


def _ids(page: Page) -> Iterator[str]:
    token = ""
    while True:
        found, token = page(token)
        yield from found
        if not token:
            return


def _whole(given: str, get: Callable[[str], Any], page: Page, things: str) -> str:
    if len(given) >= _WHOLE:
        return given
    try:
        get(given)
    except NotFound:
        matches = sorted(whole for whole in _ids(page) if whole.startswith(given))
        if not matches:
            raise
    else:
        return given
    if len(matches) > 1:
        more = ", ..." if len(matches) > _NAMED else ""
        raise InvalidInput(
            f"the ids of {len(matches)} {things} begin with {given}: "
            f"{', '.join(matches[:_NAMED])}{more}"
        )
    return matches[0]
