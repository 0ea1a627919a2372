"""Keyset pagination: sort keys as comparable tuples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import numpy as np

from mentorgrad.domain.query import CandidateFilter, RunFilter, RunOrder
from mentorgrad.domain.run import Candidate
from mentorgrad.errors import InvalidInput
from mentorgrad.serialization import to_dict
from run_store import page_tokens

T = TypeVar("T")
Position = tuple[Any, ...]

MAX_PAGE = 1000
"""Maximum page size."""

PAGE_BYTES = 4 * 1024 * 1024
"""Maximum bytes per page; a page ends early when it reaches this."""

EVENTS_BYTES = 512 * 1024
"""Approximate maximum bytes of events read at once, except for a single larger event. Bounds the
memory that many slow readers take."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(moment: datetime) -> int:
    """Microseconds since 1970, without rounding."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def moment(micros: int) -> datetime:
    """The inverse of `micros`."""
    return _EPOCH + timedelta(microseconds=micros)


def weight(value: Any) -> int:
    """Approximate bytes of an event, or of a part of one, without encoding it."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, tuple):
        return 8 + sum(map(weight, value))
    if isinstance(value, np.ndarray):
        return value.nbytes
    parts = getattr(value, "__dict__", None)
    return 50 + sum(map(weight, parts.values())) if parts else 8


def rankable(loss: float | None) -> float | None:
    """A loss as sort key; None, which sorts last, if it is not finite."""
    return loss if loss is not None and math.isfinite(loss) else None


def _ranked(loss: float | None) -> tuple[bool, float]:
    value = rankable(loss)
    return value is None, value or 0.0


@dataclass(frozen=True)
class Cursor:
    """Start of a page in an ordered listing."""

    page_size: int
    """Maximum entries of the page."""
    descending: bool
    """Whether the order is descending."""
    after: Position | None
    """Position of the previous page's last entry; None for the first page."""
    query: str
    """Digest of the query, for the next token."""

    def take(self, found: Iterable[tuple[Position, int, T]]) -> tuple[list[T], str]:
        """The page's entries, and the token of the next page.

        A page ends early at `PAGE_BYTES`, so that it fits into a message and into memory.

        Args:
            found: Positions, sizes in bytes and entries, in order; one more than a page if there
                are more. Read only as far as needed.
        """
        page: list[T] = []
        place, room = (), PAGE_BYTES
        for position, size, entry in found:
            room -= size
            if page and (len(page) == self.page_size or room < 0):
                return page, self.token_after(place)
            page.append(entry)
            place = position
        return page, ""

    def token_after(self, position: Position) -> str:
        """The token of the page that starts after a position."""
        return page_tokens.encode(position, self.query)


def cursor(
    page_size: int, token: str, types: Sequence[type], *query: Any, descending: bool = False
) -> Cursor:
    """Start of a page.

    Args:
        page_size: Maximum entries of the page.
        token: Token of the previous page, or empty.
        types: Types of a position's parts.
        query: What the listing depends on, as JSON-serializable values.
        descending: Whether the order is descending.

    Raises:
        InvalidInput: The page size is not within 1..1000, or the token is invalid.
    """
    if not 1 <= page_size <= MAX_PAGE:
        raise InvalidInput.field("page_size", f"must be between 1 and {MAX_PAGE}, not {page_size}")
    digest = page_tokens.digest(*query)
    return Cursor(page_size, descending, page_tokens.decode(token, digest, types), digest)


def run_cursor(
    run_filter: RunFilter, order: RunOrder, page_size: int, token: str, *seen: str
) -> Cursor:
    """Start of a page of the runs that a caller sees; see `cursor`."""
    types = (bool, float, str) if order is RunOrder.BEST_SELECTION_LOSS else (int, str)
    query = ("runs", to_dict(run_filter), order.value, *seen)
    return cursor(page_size, token, types, *query, descending=order is RunOrder.NEWEST)


def run_position(key: Any, run_id: str, order: RunOrder) -> Position:
    """Position of a run: its creation time or its loss, which is infinite if it has none, and its
    run_id, which makes the position unique."""
    if order is RunOrder.BEST_SELECTION_LOSS:
        return (*_ranked(key), run_id)
    return key, run_id


def candidate_cursor(run_id: str, wanted: CandidateFilter, page_size: int, token: str) -> Cursor:
    """Start of a page of candidates; see `cursor`."""
    types = (bool, float, int, int) if wanted.best_first else (int, int)
    return cursor(page_size, token, types, "candidates", run_id, to_dict(wanted))


def candidate_position(
    candidate: Candidate, seq: int, position: int, wanted: CandidateFilter
) -> Position:
    """Sort key of a candidate: loss and then time, or time only."""
    if wanted.best_first:
        return (*_ranked(candidate.score.loss), seq, position)
    return seq, position
