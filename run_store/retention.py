"""Policies of what a store keeps: which ended runs lose their raw data, and which are deleted.

A policy is a value, and its plan is computed of the runs and their sizes alone. `store gc` prints
the plan, and then has the store carry it out, drop by drop. A run that has not ended, or is one of
an unfinished experiment, is not among the runs that a plan is made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from mentorgrad.domain.query import RunFilter
from mentorgrad.errors import InvalidInput


class Level(StrEnum):
    """What of a run is dropped."""

    RAW = "raw"
    """Its raw parameters and checkpoints; everything else stays."""
    RUN = "run"
    """The whole run."""


@dataclass(frozen=True)
class EndedRun:
    """A run that may be dropped, and its size."""

    run_id: str
    """The run."""
    name: str
    """Its name."""
    owner: str
    """Its owner; empty: none."""
    state: str
    """Its final state."""
    ended_at: datetime
    """When it ended (UTC)."""
    raw_bytes: int
    """Bytes of raw parameters and checkpoints."""
    other_bytes: int
    """Bytes of everything else."""


@dataclass(frozen=True)
class Drop:
    """One step of a plan."""

    run: EndedRun
    """The run."""
    level: Level
    """What of it is dropped."""

    @property
    def bytes(self) -> int:
        """Bytes that become free."""
        return self.run.raw_bytes + (self.run.other_bytes if self.level is Level.RUN else 0)


@dataclass(frozen=True)
class RetentionPolicy:
    """Which of the ended runs go, or lose their raw data."""

    runs: RunFilter = field(default_factory=RunFilter)
    """Which runs it is about; the sizes below count all runs."""
    older_than: timedelta | None = None
    """Only runs that ended at least this long ago; None: of any age."""
    keep: int | None = None
    """Bytes that all runs may have together: the oldest go until they have no more. None: no
    limit."""
    keep_per_owner: int | None = None
    """Bytes that the runs of one owner may have together. None: no limit."""
    raw_only: bool = False
    """Whether runs lose their raw data only."""
    all: bool = False
    """Whether it may concern every run."""

    def __post_init__(self) -> None:
        """Checks the policy.

        Raises:
            InvalidInput: A number is negative, or the states are not final; or there is no
                condition at all, and `all` does not say that this is meant (reason NEEDS_ALL).
        """
        for flag, number in (("--keep", self.keep), ("--keep-per-owner", self.keep_per_owner)):
            if number is not None and number < 0:
                raise InvalidInput.field(flag, f"must not be negative, not {number}")
        if self.older_than is not None and self.older_than < timedelta():
            raise InvalidInput.field("--older-than", "must not be negative")
        for state in self.runs.states:
            if not state.is_final:
                said = f"must be a final state; {state.value} runs are never dropped"
                raise InvalidInput.field("--state", said)
        if not (self.all or self.has_condition):
            said = "the policy names no age, size or filter; --all says that all runs are meant"
            raise InvalidInput(said, reason=NEEDS_ALL)

    @property
    def has_condition(self) -> bool:
        """Whether it names an age, a size or a filter."""
        return bool(self.older_than) or self.is_limited or self.runs != RunFilter()

    @property
    def is_limited(self) -> bool:
        """Whether runs go only as far as a size demands it."""
        return self.keep is not None or self.keep_per_owner is not None


NEEDS_ALL = "POLICY_NEEDS_ALL"
"""Error reason: a policy would leave nothing, and does not say that this is meant."""


def plan(
    policy: RetentionPolicy, ended: Iterable[EndedRun], held: Mapping[str, int], now: datetime
) -> tuple[Drop, ...]:
    """What a policy drops, in order: raw data before whole runs, old runs before new ones.

    Args:
        policy: The policy.
        ended: The ended runs that its filter matches, in any order.
        held: Owner → bytes of all runs, whether they have ended or not; used if the policy names a
            size.
        now: The present time (UTC).
    """
    old = [run for run in ended if not policy.older_than or run.ended_at <= now - policy.older_than]
    old.sort(key=lambda run: (run.ended_at, run.run_id))
    if not policy.is_limited:
        level = Level.RAW if policy.raw_only else Level.RUN
        return tuple(Drop(run, level) for run in old if level is Level.RUN or run.raw_bytes)
    chosen: dict[str, Drop] = {}
    if policy.keep_per_owner is not None:
        for owner, size in held.items():
            mine = [run for run in old if run.owner == owner]
            _shrink(mine, size - policy.keep_per_owner, chosen, policy.raw_only)
    if policy.keep is not None:
        freed = sum(drop.bytes for drop in chosen.values())
        _shrink(old, sum(held.values()) - freed - policy.keep, chosen, policy.raw_only)
    return tuple(sorted(chosen.values(), key=_order))


def _shrink(runs: Iterable[EndedRun], excess: int, chosen: dict[str, Drop], raw_only: bool) -> None:
    """Adds to the chosen drops, oldest run first, until they free `excess` bytes more."""
    for level in (Level.RAW,) if raw_only else (Level.RAW, Level.RUN):
        for run in runs:
            if excess <= 0:
                return
            before, drop = chosen.get(run.run_id), Drop(run, level)
            more = drop.bytes - (before.bytes if before else 0)
            if more > 0:
                chosen[run.run_id] = drop
                excess -= more


def _order(drop: Drop) -> tuple[bool, datetime, str]:
    return drop.level is Level.RUN, drop.run.ended_at, drop.run.run_id
