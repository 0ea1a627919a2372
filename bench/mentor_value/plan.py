"""The cells of a campaign, in an order in which a part of it is a smaller campaign."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.mentor_value.arms import (
    BATCH,
    CONTROLS,
    SELECTION_ROWS,
    TEXTS,
    Allowance,
    Cell,
    variants,
)
from bench.mentor_value.records import Record, cell_of
from mentorgrad.errors import InvalidInput

MENTOR = "mentor"
"""Arm that stands for one arm per mentor."""

_ZERO = ("random_tokens", "description", MENTOR)
_DEFAULTS = {
    "zero": ("none", *_ZERO, f"{MENTOR}/examples"),
    "rounds": ("none", *_ZERO, f"{MENTOR}/shuffled"),
    "steps": ("none", "none/rows", *_ZERO),
    "served": (*_ZERO, *(f"{MENTOR}/{name}" for name in ("opro", "reflect", "evoprompt"))),
}
"""Default arms, by what a budget pays for."""

_SECONDS_PER_ROW = 0.4
"""Seconds of one core per row and 10⁹ weights, where no record tells."""

_TEST_PASSES = 4
"""Passes over the test rows: the final test, the zero-shot score and hidden states."""


@dataclass(frozen=True)
class Campaign:
    """What is compared."""

    objective: str
    tasks: Mapping[str, tuple[int, int]]
    """Name of each task → its numbers of labels and of test rows."""
    tuned: tuple[str, ...]
    """Size classes of the tuned models."""
    mentors: tuple[str, ...]
    """Size classes of the mentors, the largest last."""
    budgets: tuple[str, ...]
    shots: tuple[int, ...]
    seeds: tuple[int, ...]
    arms: tuple[str, ...] = ()
    """Names of arms; empty: the defaults of each budget."""

    def cells(self) -> list[Cell]:
        """All cells: seed by seed, so that what is done first is a campaign of fewer seeds."""
        return [
            Cell(self.objective, tuned, task, shots, budget, seed, arm, mentor)
            for seed, shots, tuned, task, budget in itertools.product(
                self.seeds, self.shots, self.tuned, self.tasks, self.budgets
            )
            for arm, mentor in self._arms(budget)
        ]

    def _arms(self, budget: str) -> list[tuple[str, str]]:
        """Arms of a budget with their mentors; a variant is asked of the largest mentor only."""
        found = []
        for name in self.arms or _DEFAULTS[self._kind(budget)]:
            head, _, variant = name.partition("/")
            if head != MENTOR:
                found.append((name, ""))
                continue
            for size in self.mentors[-1:] if variant else self.mentors:
                found.append((f"{MENTOR}_{size}" + (f"/{variant}" if variant else ""), size))
        return found

    def _kind(self, budget: str) -> str:
        allowance = Allowance.parse(budget)
        if self.objective == "served_prompt":
            return "served"
        if allowance.steps:
            return "steps"
        return "rounds" if allowance.rounds > 1 else "zero"

    def rows(self, cell: Cell) -> int:
        """Rows that pass through the tuned model in a cell, about, with the final test."""
        classes, test_rows = self.tasks[cell.task]
        allowance = Allowance.parse(cell.budget)
        scored = (TEXTS * allowance.rounds + 3) * classes * (cell.shots + SELECTION_ROWS)
        return scored + allowance.steps * 3 * BATCH + _TEST_PASSES * test_rows


def check_arms(names: Sequence[str]) -> None:
    """Raises InvalidInput for an unknown arm."""
    known = {*CONTROLS, "none/rows", MENTOR, *(f"{MENTOR}/{name}" for name in variants())}
    for name in names:
        if name not in known:
            raise InvalidInput.field(
                "--arms", f"no arm {name!r}; known: {', '.join(sorted(known))}"
            )


def hours(campaign: Campaign, cells: Sequence[Cell], records: Sequence[Record]) -> float:
    """Estimated time for cells, by the records of the same tuned model where there are any."""
    total = 0.0
    for tuned, group in itertools.groupby(sorted(cells, key=_tuned), _tuned):
        seconds, rows = 0.0, 0
        for record in records:
            cell = cell_of(record)
            if cell.tuned == tuned and cell.task in campaign.tasks:
                seconds += record["seconds"]
                rows += campaign.rows(cell)
        each = seconds / rows if rows else _SECONDS_PER_ROW * weights(tuned) / 1e9
        total += each * sum(map(campaign.rows, group))
    return total / 3600


def weights(size: str) -> float:
    """Number of weights of a size class such as ``135M`` or ``0.5B``.

    Raises:
        InvalidInput: The text is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([MB])", size)
    if found is None:
        raise InvalidInput(f"{size!r} is no size class, such as 135M or 0.5B")
    return float(found[1]) * {"M": 1e6, "B": 1e9}[found[2]]


def _tuned(cell: Cell) -> str:
    return cell.tuned
