"""What a request asks for: its parameters, read and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from starlette.datastructures import QueryParams

from mentorgrad.domain.event import EventKind
from mentorgrad.domain.query import RunFilter, RunOrder
from mentorgrad.domain.run import RunState
from mentorgrad.errors import InvalidInput
from mentorgrad.field_limits import check
from mentorgrad.schema import snake_case
from ui_service.positions import MAX_RUNS

E = TypeVar("E", bound=StrEnum)

MAX_PAGE_SIZE = 200
MAX_EVENTS = 1000
MAX_POINTS = 5000
MAX_STEP = 2**63 - 1

_TEXTS = {
    "text": "name_contains",
    "pattern": "name_pattern",
    "objective": "objective",
    "task": "task",
    "mentor": "mentor",
    "owner": "owner",
    "experiment": "experiment_id",
}
"""Parameter → field of the filter."""


@dataclass(frozen=True)
class RunsRequest:
    """Which page of runs is asked for; equal requests have equal answers."""

    states: tuple[RunState, ...]
    """See `RunFilter`."""
    labels: tuple[tuple[str, str], ...]
    """See `RunFilter`."""
    texts: tuple[tuple[str, str], ...]
    """Further fields of the filter."""
    order: RunOrder
    """Order."""
    page_size: int
    """Number of runs."""
    page_token: str
    """Page token; empty: the first page."""

    @property
    def run_filter(self) -> RunFilter:
        """The filter.

        Raises:
            InvalidInput: It is out of bounds.
        """
        texts: dict[str, Any] = dict(self.texts)
        return check(RunFilter(states=self.states, labels=dict(self.labels), **texts), "filter")


def of_runs(given: QueryParams) -> RunsRequest:
    """The request for a page of runs.

    Raises:
        InvalidInput: A parameter is unknown or invalid.
    """
    _only(given, ("state", "label", "order", "page_size", "page_token", *_TEXTS))
    texts = tuple((field, given[name]) for name, field in _TEXTS.items() if given.get(name))
    return RunsRequest(
        tuple(member("state", RunState, text) for text in given.getlist("state") if text),
        tuple(_label(text) for text in given.getlist("label") if text),
        texts,
        member("order", RunOrder, given.get("order") or RunOrder.NEWEST.value),
        number(given, "page_size", 50, 1, MAX_PAGE_SIZE),
        given.get("page_token", ""),
    )


@dataclass(frozen=True)
class ExperimentsRequest:
    """Which page of experiments is asked for."""

    page_size: int
    """Number of experiments."""
    page_token: str
    """Page token; empty: the first page."""


def of_experiments(given: QueryParams) -> ExperimentsRequest:
    """The request for a page of experiments.

    Raises:
        InvalidInput: A parameter is unknown or invalid.
    """
    _only(given, ("page_size", "page_token"))
    size = number(given, "page_size", 50, 1, MAX_PAGE_SIZE)
    return ExperimentsRequest(size, given.get("page_token", ""))


def of_report(given: QueryParams) -> str:
    """The version of a report that a tab has; empty: none.

    Raises:
        InvalidInput: A parameter is unknown.
    """
    _only(given, ("version",))
    return given.get("version", "")


@dataclass(frozen=True)
class EventsRequest:
    """Which events are asked for."""

    after: int
    """Only events with a greater sequence number."""
    limit: int
    """Maximum number of events."""
    kinds: tuple[EventKind, ...]
    """Only events of these kinds; empty: all."""


def of_events(given: QueryParams) -> EventsRequest:
    """The request for events.

    Raises:
        InvalidInput: A parameter is unknown or invalid.
    """
    _only(given, ("after", "limit", "kind"))
    return EventsRequest(
        number(given, "after", 0, 0, MAX_STEP),
        number(given, "limit", MAX_EVENTS, 1, MAX_EVENTS),
        tuple(member("kind", EventKind, text) for text in given.getlist("kind") if text),
    )


@dataclass(frozen=True)
class PointsRequest:
    """Which points of a loss curve are asked for."""

    points: int
    """Maximum number of points."""
    first_step: int
    """Lowest step; 0: no limit."""
    last_step: int
    """Highest step, inclusive; 0: no limit."""


class CurveKind(StrEnum):
    """A curve of a run's losses."""

    BEST = "best"
    TRAIN = "train"


@dataclass(frozen=True)
class GroupsRequest:
    """Which runs are grouped, and by what."""

    run_ids: tuple[str, ...]
    """The runs."""
    label: str
    """Name of the label."""
    curve: CurveKind
    """Which curve of them."""


def of_compared(given: QueryParams, *others: str) -> tuple[str, ...]:
    """The runs that are compared.

    Args:
        given: The parameters.
        others: Names of those that may stand beside the runs.

    Raises:
        InvalidInput: A parameter is unknown, or there are no runs or too many.
    """
    _only(given, ("run", *others))
    run_ids = tuple(given.getlist("run"))
    if not 1 <= len(run_ids) <= MAX_RUNS:
        raise InvalidInput.field("run", f"must name 1 to {MAX_RUNS} runs")
    return run_ids


def of_groups(given: QueryParams) -> GroupsRequest:
    """The request for curves by groups.

    Raises:
        InvalidInput: A parameter is unknown or invalid.
    """
    run_ids = tuple(dict.fromkeys(of_compared(given, "label", "curve")))
    if not given.get("label"):
        raise InvalidInput.field("label", "must name a label")
    curve = member("curve", CurveKind, given.get("curve") or CurveKind.BEST)
    return GroupsRequest(run_ids, given["label"], curve)


def of_points(given: QueryParams) -> PointsRequest:
    """The request for a loss curve.

    Raises:
        InvalidInput: A parameter is unknown or invalid.
    """
    _only(given, ("points", "first_step", "last_step"))
    found = PointsRequest(
        number(given, "points", 500, 2, MAX_POINTS),
        number(given, "first_step", 0, 0, MAX_STEP),
        number(given, "last_step", 0, 0, MAX_STEP),
    )
    if 0 < found.last_step < found.first_step:
        raise InvalidInput.field("last_step", f"must be at least {found.first_step}")
    return found


def member(name: str, kind: type[E], text: str) -> E:
    """An enum's member by its value, or by its name in protobuf's JSON.

    Raises:
        InvalidInput: There is none.
    """
    prefix = f"{snake_case(kind.__name__)}_"
    try:
        return kind(text.lower().removeprefix(prefix))
    except ValueError:
        known = ", ".join(item.value for item in kind)
        raise InvalidInput.field(name, f"must be one of: {known}") from None


def number(given: QueryParams, name: str, default: int, lowest: int, highest: int) -> int:
    """An integer of the query.

    Raises:
        InvalidInput: It is none, or out of bounds.
    """
    text = given.get(name) or str(default)
    found = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    if not lowest <= found <= highest:
        raise InvalidInput.field(name, f"must be an integer within {lowest}..{highest}")
    return found


def _label(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise InvalidInput.field("label", "must be NAME=VALUE")
    return key, value


def _only(given: QueryParams, known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise InvalidInput.field(name, f"is not known here; known: {', '.join(known)}")
