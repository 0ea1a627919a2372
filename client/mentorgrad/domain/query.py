"""Reading recorded runs: the interface, filters, and pages of results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from mentorgrad.domain.event import EventKind, RunEvent
from mentorgrad.domain.name_pattern import MAX_PATTERN, pattern_violations
from mentorgrad.domain.pages import Page
from mentorgrad.domain.run import Artifact, Candidate, CandidateSource, Run, RunState, Trajectory
from mentorgrad.domain.run_fields import condition_violations
from mentorgrad.errors import Violation
from mentorgrad.field_limits import MAX_TEXT
from mentorgrad.schema import Validated, bounded


class View(StrEnum):
    """Which parts of an event are returned."""

    SUMMARY = "summary"
    FULL = "full"


class Thinning(StrEnum):
    """How the snapshots of a thinned trajectory are chosen."""

    EVEN = "even"
    """Evenly spaced, including the first and the last."""
    MIN_MAX = "min_max"
    """The lowest and the highest train loss of each of equally long spans, and the first and the
    last snapshot: spikes stay visible. NaN is neither, but a span of nothing else has its first
    snapshot."""


class RunOrder(StrEnum):
    """Sort order of a list of runs."""

    NEWEST = "newest"
    OLDEST = "oldest"
    BEST_SELECTION_LOSS = "best_selection_loss"


class TextSearch(StrEnum):
    """How a text was searched for."""

    FULL_TEXT = "full_text"
    TRIGRAM = "trigram"
    PREFIX = "prefix"


@dataclass(frozen=True)
class FieldFilter(Validated):
    """Condition on one field of a run: a value, or a range of numbers."""

    field: str = bounded("", required=True, max_length=300)
    """Path of a field of the spec that holds a single value, for example
    ``spec.optimizer.learning_rate``; ``best_selection_loss``; or a figure of the test, for example
    ``result.test.accuracy``."""
    equals: str | None = bounded(None, max_length=MAX_TEXT)
    """The value, as text; of a duration, the seconds. Empty: the field is absent or empty."""
    at_least: float | None = None
    """Lowest number, inclusive."""
    at_most: float | None = None
    """Highest number, inclusive."""

    def cross_violations(self) -> Iterator[Violation]:
        """Checks that runs have such a field, and that its values can meet the condition."""
        yield from condition_violations(self.field, self.equals, self.at_least, self.at_most)


@dataclass(frozen=True)
class RunFilter(Validated):
    """Filter for runs; an empty field does not restrict."""

    states: tuple[RunState, ...] = bounded((), max_length=64)
    """Match runs in any of these states."""
    objective: str = bounded("", max_length=100)
    """Name of the objective, for example ``label_prompt``."""
    task: str = bounded("", max_length=100)
    """Name of the task."""
    mentor: str = bounded("", max_length=100)
    """Name of the mentor or control."""
    name_contains: str = bounded("", max_length=200)
    """Substring of the run's name, without regard to case."""
    labels: Mapping[str, str] = bounded(factory=dict, max_length=64)
    """Match runs that have all of these labels, as edited last."""
    created_after: datetime | None = None
    """Match runs created at or after this time."""
    created_before: datetime | None = None
    """Match runs created before this time."""
    owner: str = bounded("", max_length=200)
    """Owner of the run."""
    experiment_id: str = bounded("", max_length=100)
    """Id of the experiment that created the run."""
    fields: tuple[FieldFilter, ...] = bounded((), max_length=16)
    """Match runs that meet all of these conditions."""
    text: str = bounded("", max_length=200)
    """Text in the run's name, note or labels, without regard to case; see `TextSearch`."""
    run_ids: tuple[str, ...] = bounded((), max_length=100)
    """Match only these runs, at most 100; unknown ids match none."""
    name_pattern: str = bounded("", max_length=MAX_PATTERN)
    """Regular expression that matches a part of the run's name, without regard to case: an extended
    one of POSIX without back references and named classes, with ``\\d``, ``\\w`` and ``\\s``."""

    def cross_violations(self) -> Iterator[Violation]:
        """Checks the pattern."""
        yield from pattern_violations("name_pattern", self.name_pattern)


@dataclass(frozen=True)
class RunPage(Page[Run]):
    """A page of runs."""

    runs: tuple[Run, ...]
    """Runs, in the requested order."""
    next_page_token: str = ""
    """Page token of the next page; empty on the last page."""
    text_search: TextSearch | None = None
    """How the filter's `text` was searched for; None: no text was."""
    is_cut: bool = False
    """Whether the page ends early, since it has looked at as many names for the filter's
    `name_pattern` as a page may: the next page goes on. Such a page may have no runs."""


@dataclass(frozen=True)
class EventQuery:
    """Filter for the events of a run."""

    after_seq: int = bounded(0, ge=0)
    """Return only events with a higher sequence number."""
    kinds: tuple[EventKind, ...] = bounded((), max_length=64)
    """Return only these kinds; empty: all."""
    view: View = View.SUMMARY
    """Whether raw tensors are included."""
    effective: bool = False
    """Leave out events that a resume superseded."""


@dataclass(frozen=True)
class TrajectoryQuery(Validated):
    """Which snapshots of a run are returned."""

    max_points: int = bounded(0, ge=0, le=2**31 - 1)
    """Maximum number of snapshots, chosen by `thinning`; 0: all."""
    view: View = View.SUMMARY
    """Whether raw parameters are included."""
    first_step: int = bounded(0, ge=0, le=2**63 - 1)
    """Lowest step; 0: no limit."""
    last_step: int = bounded(0, ge=0, le=2**63 - 1)
    """Highest step, inclusive; 0: no limit."""
    thinning: Thinning = Thinning.EVEN
    """How the snapshots are chosen if there are more than `max_points`."""

    def cross_violations(self) -> Iterator[Violation]:
        """Checks that the range is not empty, and that MIN_MAX has a number of points."""
        if 0 < self.last_step < self.first_step:
            said = f"must be at least first_step, {self.first_step}, not {self.last_step}"
            yield Violation("last_step", said)
        if self.thinning is not Thinning.EVEN and self.max_points == 0:
            yield Violation("max_points", f"must be set with thinning {self.thinning.value}")


@dataclass(frozen=True)
class CandidateFilter:
    """Filter for candidates; an empty field does not restrict."""

    sources: tuple[CandidateSource, ...] = bounded((), max_length=64)
    """Match candidates from any of these sources."""
    stage: int | None = bounded(None, ge=0)
    """Match candidates scored in this stage, from 0."""
    best_first: bool = True
    """Order by selection loss, lowest first; otherwise by time."""


@dataclass(frozen=True)
class CandidatePage(Page[Candidate]):
    """A page of candidates."""

    candidates: tuple[Candidate, ...]
    """Candidates, in the requested order."""
    next_page_token: str = ""
    """Page token of the next page; empty on the last page."""


class RunReader(Protocol):
    """The read interface: queries runs; implemented by the client and by every run store.

    Every method raises `NotFound` (reason RUN_NOT_FOUND) for an unknown run.
    """

    def get_run(self, run_id: str) -> Run:
        """The current state of a run."""
        ...

    def list_runs(
        self,
        run_filter: RunFilter | None = None,
        order: RunOrder = RunOrder.NEWEST,
        page_size: int = 50,
        page_token: str = "",
    ) -> RunPage:
        """Lists runs by filter, with keyset pagination (stable while runs are added).

        Raises:
            InvalidInput: `page_size` is not within 1..1000, or `page_token` is malformed or belongs
                to another query (reason BAD_PAGE_TOKEN).
        """
        ...

    def events(self, run_id: str, query: EventQuery | None = None) -> Iterable[RunEvent]:
        """Recorded events in order, lazily."""
        ...

    def trajectory(
        self,
        run_id: str,
        max_points: int = 0,
        view: View = View.FULL,
        *,
        first_step: int = 0,
        last_step: int = 0,
        thinning: Thinning = Thinning.EVEN,
    ) -> Trajectory:
        """Effective snapshots in order of step; the arguments are the fields of `TrajectoryQuery`.

        Raises:
            InvalidInput: A number is negative, the range is empty, or MIN_MAX has no `max_points`.
        """
        ...

    def list_candidates(
        self,
        run_id: str,
        candidate_filter: CandidateFilter | None = None,
        page_size: int = 50,
        page_token: str = "",
    ) -> CandidatePage:
        """Effective candidates, in pages."""
        ...

    def artifacts(self, run_id: str) -> tuple[Artifact, ...]:
        """Files of the run except checkpoints, sorted by name."""
        ...

    def read_artifact(self, run_id: str, name: str) -> bytes:
        """The content of a file or checkpoint.

        Raises:
            NotFound: No such file (reason ARTIFACT_NOT_FOUND).
            DataLoss: The bytes do not match their digest.
        """
        ...
