"""Figures of the records, and paired differences between arms with 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.mentor_value.records import Record, cell_of
from mentorgrad.domain.experiment import Estimate
from trainer_service.experiments.statistics import Figures, differences, estimate, win_rate

BASELINES = ("zero_shot", "linear_probe", "prototypes")
"""Baselines, which every record of the same rows has."""

WEAK = 10
"""A comparison with fewer seeds is called weak."""

Place = tuple[str, str, str]
"""Objective, tuned model and budget."""


@dataclass(frozen=True)
class Difference:
    """One arm minus another, paired by task, shots and seed; negative: the first is better."""

    estimate: Estimate
    wins: float
    """Share of the pairs in which the first is better."""
    seeds: int
    """Seeds of the task that has the fewest."""

    @property
    def is_weak(self) -> bool:
        """Whether there are fewer than `WEAK` seeds."""
        return self.seeds < WEAK

    def as_json(self) -> dict[str, float | int | bool | None]:
        """Rounded; an unbounded end is null."""
        found = self.estimate
        ends = {"mean": found.mean, "low": found.low, "high": found.high}
        return {
            **{name: round(end, 4) if math.isfinite(end) else None for name, end in ends.items()},
            "wins": round(self.wins, 3),
            "pairs": found.count,
            "seeds": self.seeds,
            "weak": self.is_weak,
        }


def place_of(record: Record) -> Place:
    """Where a record stands."""
    cell = cell_of(record)
    return cell.objective, cell.tuned, cell.budget


def arms_of(records: Sequence[Record], place: Place) -> list[str]:
    """Arms with records at a place, in order of their first one; then the baselines."""
    found = dict.fromkeys(record["arm"] for record in records if place_of(record) == place)
    return [*found, *BASELINES] if found else []


def figures(records: Sequence[Record], place: Place, arm: str, name: str = "loss") -> Figures:
    """A test figure of an arm or a baseline, by task and shots, then by seed."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    for record in records:
        if place_of(record) != place or (arm not in BASELINES and record["arm"] != arm):
            continue
        score = record["baselines"].get(arm) if arm in BASELINES else record["test"]
        if score is not None and name in score:
            stratum = record["task"], f"{record['shots']} shots"
            found.setdefault(stratum, {}).setdefault(record["seed"], score[name])
    return found


def difference(
    records: Sequence[Record], place: Place, one: str, other: str, name: str = "loss"
) -> Difference | None:
    """`one` minus `other`; None without pairs."""
    mine, theirs = (figures(records, place, arm, name) for arm in (one, other))
    paired = differences(mine, theirs)
    found = estimate(paired)
    if found is None:
        return None
    wins = win_rate(mine, theirs, lower_is_better="loss" in name)
    return Difference(found, wins, min(map(len, paired.values())))


def none_at(arms: Sequence[str]) -> str:
    """The arm without a proposer; where it was not run, the baseline without a prompt."""
    return "none" if "none" in arms else "zero_shot"
