"""Ids of runs and experiments by their beginnings: a command takes any that only one id has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mentorgrad.domain.pages import MAX_PAGE, every_item
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


def run_id(reader: RunReader, given: str) -> str:
    """The id of the run whose id is, or begins with, the given text.

    Raises:
        NotFound: There is none.
        InvalidInput: Several begin with it; names them.
    """
    runs = every_item(lambda token: reader.list_runs(page_size=MAX_PAGE, page_token=token))
    return _whole(given, reader.get_run, (run.run_id for run in runs), "runs")


def experiment_id(reader: ExperimentQueries, given: str) -> str:
    """The id of the experiment whose id is, or begins with, the given text.

    Raises:
        NotFound: There is none.
        InvalidInput: Several begin with it; names them.
    """
    found = every_item(lambda token: reader.list_experiments(MAX_PAGE, token))
    ids = (experiment.experiment_id for experiment in found)
    return _whole(given, reader.get_experiment, ids, "experiments")


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


def _whole(given: str, get: Callable[[str], Any], ids: Iterable[str], things: str) -> str:
    given.encode()  # of a terminal that is not UTF-8: the error that names the locale
    if len(given) >= _WHOLE:
        return given
    if not given.strip():  # a variable of the shell that is not set: it begins every id
        raise InvalidInput(f"the id is empty; give the beginning of one of the {things}")
    try:
        get(given)
    except NotFound:
        matches = sorted(whole for whole in ids if whole.startswith(given))
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
