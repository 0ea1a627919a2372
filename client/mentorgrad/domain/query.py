"""Questions to the history, and their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mentorgrad.domain.event import EventKind
from mentorgrad.domain.run import Candidate, CandidateSource, Run, RunState
from mentorgrad.schema import bounded


class View(StrEnum):
    """How much of an event travels."""

    SUMMARY = "summary"
    FULL = "full"


class RunOrder(StrEnum):
    """In what order runs are listed."""

    NEWEST = "newest"
    OLDEST = "oldest"
    BEST_SELECTION_LOSS = "best_selection_loss"


@dataclass(frozen=True)
class RunFilter:
    """Which runs to list; an empty field does not restrict."""

    states: tuple[RunState, ...] = bounded((), max_length=64)
    """Any of these states."""
    objective: str = bounded("", max_length=100)
    """Objective by name, for example ``label_prompt``."""
    task: str = bounded("", max_length=100)
    """Task by name."""
    mentor: str = bounded("", max_length=100)
    """Mentor or control by name."""
    name_contains: str = bounded("", max_length=200)
    """Part of the run's name."""
    labels: Mapping[str, str] = bounded(factory=dict, max_length=64)
    """All of these labels."""
    created_after: datetime | None = None
    """Created at this time or later."""
    created_before: datetime | None = None
    """Created before this time."""


@dataclass(frozen=True)
class RunPage:
    """A page of runs."""

    runs: tuple[Run, ...]
    """In the order asked for."""
    next_page_token: str = ""
    """Opaque; empty on the last page."""


@dataclass(frozen=True)
class EventQuery:
    """Which events of a run to read."""

    after_seq: int = bounded(0, ge=0)
    """Only events with a higher number."""
    kinds: tuple[EventKind, ...] = bounded((), max_length=64)
    """Any of these kinds; empty: all."""
    view: View = View.SUMMARY
    """Whether raw tensors are attached."""
    effective: bool = False
    """Leave out events that a resume superseded."""


@dataclass(frozen=True)
class CandidateFilter:
    """Which candidates of a run to list; an empty field does not restrict."""

    sources: tuple[CandidateSource, ...] = bounded((), max_length=64)
    """Any of these sources."""
    stage: int | None = bounded(None, ge=0)
    """Scored in this stage."""
    best_first: bool = True
    """Order by selection loss; else by time."""


@dataclass(frozen=True)
class CandidatePage:
    """A page of candidates."""

    candidates: tuple[Candidate, ...]
    """In the order asked for."""
    next_page_token: str = ""
    """Opaque; empty on the last page."""
