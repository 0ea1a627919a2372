"""Keyset pages: the order of a listing as plain comparable positions, the same in every store."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from mentorgrad.domain.query import CandidateFilter, RunFilter, RunOrder
from mentorgrad.domain.run import Candidate, Run
from mentorgrad.serialization import to_dict
from run_store import invariants, page_tokens

T = TypeVar("T")
Position = tuple[Any, ...]

PAGE_BYTES = 4 * 1024 * 1024
"""Size at which a page ends early, whatever number of entries was asked for."""

EVENTS_BYTES = 512 * 1024
"""About the most bytes of events read at once, but for a single larger one: who reads them may be
slow, and many may be slow."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(moment: datetime) -> int:
    """Microseconds since 1970, exactly."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def rankable(loss: float | None) -> float | None:
    """A loss to sort by; None, which sorts last, where it is no finite number."""
    return loss if loss is not None and math.isfinite(loss) else None


def _ranked(loss: float | None) -> tuple[bool, float]:
    value = rankable(loss)
    return value is None, value or 0.0


@dataclass(frozen=True)
class Cursor:
    """A place in an ordered listing."""

    page_size: int
    """Most entries of the page."""
    descending: bool
    """Whether positions fall."""
    after: Position | None
    """Where the page before ended; None on the first page."""
    query: str
    """Digest of the query, for the next token."""

    def take(self, found: Iterable[tuple[Position, int, T]]) -> tuple[list[T], str]:
        """The page's entries and the token of the next page.

        A page ends early when it is full by size, so that it fits into a message and into memory.

        Args:
            found: Positions, sizes in bytes and entries in order, one more than a page if there
                are more; not read further than needed.
        """
        page: list[T] = []
        place, room = (), PAGE_BYTES
        for position, size, entry in found:
            room -= size
            if page and (len(page) == self.page_size or room < 0):
                return page, page_tokens.encode(place, self.query)
            page.append(entry)
            place = position
        return page, ""


def run_cursor(run_filter: RunFilter, order: RunOrder, page_size: int, token: str) -> Cursor:
    """Where a page of runs starts.

    Raises:
        InvalidInput: A bad page size or token.
    """
    invariants.check_page_size(page_size)
    query = page_tokens.digest("runs", to_dict(run_filter), order.value)
    best = order is RunOrder.BEST_SELECTION_LOSS
    types = (bool, float, str) if best else (int, str)
    after = page_tokens.decode(token, query, types)
    return Cursor(page_size, order is RunOrder.NEWEST, after, query)


def run_position(run: Run, order: RunOrder) -> Position:
    """Where a run stands in an order; the run_id makes it unique."""
    if order is RunOrder.BEST_SELECTION_LOSS:
        return (*_ranked(run.best_selection_loss), run.run_id)
    return micros(run.created_at or _EPOCH), run.run_id


def candidate_cursor(run_id: str, wanted: CandidateFilter, page_size: int, token: str) -> Cursor:
    """Where a page of candidates starts.

    Raises:
        InvalidInput: A bad page size or token.
    """
    invariants.check_page_size(page_size)
    query = page_tokens.digest("candidates", run_id, to_dict(wanted))
    types = (bool, float, int, int) if wanted.best_first else (int, int)
    return Cursor(page_size, False, page_tokens.decode(token, query, types), query)


def candidate_position(
    candidate: Candidate, seq: int, position: int, wanted: CandidateFilter
) -> Position:
    """Where a candidate stands: by loss and then by time, or by time alone."""
    if wanted.best_first:
        return (*_ranked(candidate.score.loss), seq, position)
    return seq, position
