"""The design of an experiment as its report shows it: arms x tasks, seeds, budgets, failures."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from mentorgrad.domain.experiment import ArmReport, Cell, Report
from mentorgrad.domain.run import RunState
from mentorgrad.means import mean
from mentorgrad.reports.tables import MOST_FAILURES, failed_cells, primary
from mentorgrad.reports.texts import amount, number

MOST_SEED_ROWS = 300
"""Maximum rows of the table by seed."""

_UNDER_WAY = (RunState.RUNNING, RunState.PAUSED, RunState.INTERRUPTED)


@dataclass(frozen=True)
class GridCell:
    """The runs of an arm on a task."""

    task: str
    """Name of the task."""
    mean: str
    """Mean of the primary figure over the runs that have it, as text."""
    succeeded: int
    """Runs that ended with a result."""
    failed: int
    """Runs that ended without a result."""
    running: int
    """Runs in progress."""
    planned: int
    """All of them, those that do not exist yet included."""


@dataclass(frozen=True)
class GridRow:
    """An arm, on every task."""

    arm: str
    """Name of the arm."""
    is_subject: bool
    """Whether the arm is the one that is evaluated."""
    cells: tuple[GridCell, ...]
    """One per task."""


@dataclass(frozen=True)
class SeedRun:
    """A run of the table by seed."""

    run_id: str
    """Its id; empty: there is no such run yet."""
    state: str
    """Its state."""
    figure: str
    """Its primary figure, as text."""


@dataclass(frozen=True)
class SeedRow:
    """The runs that are compared with each other: one per arm."""

    task: str
    """Name of the task."""
    variation: str
    """Name of the variation."""
    seed: int
    """The seed."""
    runs: tuple[SeedRun, ...]
    """In the order of the arms."""


@dataclass(frozen=True)
class SeedTable:
    """The primary figure of every run, with what is compared side by side."""

    arms: tuple[str, ...]
    """Names of the arms."""
    rows: tuple[SeedRow, ...]
    """At most `MOST_SEED_ROWS`, by task, variation and seed."""
    total: int
    """Number of rows, those left out included."""


@dataclass(frozen=True)
class BudgetUse:
    """What the runs of an arm spent of a budget, on average."""

    arm: str
    """Name of the arm."""
    resource: str
    """What is limited."""
    used: float
    """Mean per run."""
    limit: int
    """Limit per run; 0: no limit."""
    text: str
    """Both, as text."""


@dataclass(frozen=True)
class Failure:
    """A run that ended without a result."""

    run_id: str
    """Id of the run."""
    arm: str
    """Name of its arm."""
    task: str
    """Name of its task."""
    variation: str
    """Name of its variation."""
    seed: int
    """Its seed."""
    state: str
    """Its state."""
    reason: str
    """Why; may be empty."""


# -- arms x tasks -----------------------------------------------------------------------------


def grid(report: Report, planned: int = 0) -> tuple[GridRow, ...]:
    """Arms x tasks.

    Args:
        report: The report.
        planned: Runs of an arm on a task; 0: those that exist.
    """
    found: dict[tuple[str, str], list[Cell]] = {}
    for cell in report.cells:
        found.setdefault((cell.arm, cell.task), []).append(cell)
    tasks = list(dict.fromkeys(cell.task for cell in report.cells))
    return tuple(
        GridRow(
            arm.arm,
            arm.arm == report.subject,
            tuple(
                _grid_cell(report, task, found.get((arm.arm, task), []), planned) for task in tasks
            ),
        )
        for arm in report.arms
    )


def _grid_cell(report: Report, task: str, cells: list[Cell], planned: int) -> GridCell:
    values = [value for value in (_figure(report, cell) for cell in cells) if value is not None]
    states = Counter(cell.state for cell in cells)
    succeeded = states[RunState.SUCCEEDED]
    failed = sum(count for state, count in states.items() if state.is_final) - succeeded
    return GridCell(
        task=task,
        mean=number(mean(values) if values else None),
        succeeded=succeeded,
        failed=failed,
        running=sum(states[state] for state in _UNDER_WAY),
        planned=max(planned, len(cells)),
    )


def _figure(report: Report, cell: Cell) -> float | None:
    """The primary figure of a run; None if it has none that is finite."""
    value: float | None = getattr(cell, primary(report).value)
    return value if value is not None and math.isfinite(value) else None


# -- seeds ------------------------------------------------------------------------------------


def seed_table(report: Report) -> SeedTable:
    """The runs side by side that are compared with each other."""
    arms = tuple(arm.arm for arm in report.arms)
    found: dict[tuple[str, str, int], dict[str, Cell]] = {}
    for cell in report.cells:
        found.setdefault((cell.task, cell.variation, cell.seed), {})[cell.arm] = cell
    tasks = {task: at for at, task in enumerate(dict.fromkeys(task for task, _, _ in found))}
    order = sorted(found, key=lambda place: (tasks[place[0]], *place[1:]))
    return SeedTable(
        arms=arms,
        rows=tuple(
            SeedRow(*place, tuple(_seed_run(report, found[place].get(arm)) for arm in arms))
            for place in itertools.islice(order, MOST_SEED_ROWS)
        ),
        total=len(found),
    )


def _seed_run(report: Report, cell: Cell | None) -> SeedRun:
    if cell is None:
        return SeedRun("", "", number(None))
    value: float | None = getattr(cell, primary(report).value)
    return SeedRun(cell.run_id, cell.state.value, number(value))


# -- budgets ----------------------------------------------------------------------------------


def budget_uses(report: Report) -> tuple[BudgetUse, ...]:
    """What the arms spent of the budgets, arm by arm; arms without a run are left out."""
    return tuple(use for arm in report.arms if arm.runs for use in _uses(report, arm))


def _uses(report: Report, arm: ArmReport) -> Iterator[BudgetUse]:
    for resource, used, limit in (
        ("gradient steps", arm.gradient_steps, report.gradient_steps_limit),
        ("evaluations", arm.evaluations, report.evaluations_limit),
        ("forward rows", arm.forward_rows, report.forward_rows_limit),
    ):
        text = amount(used) + (f" of {limit:,}" if limit else "")
        yield BudgetUse(arm.arm, resource, used, limit, text)


# -- failures ---------------------------------------------------------------------------------


def failure_list(report: Report) -> tuple[Failure, ...]:
    """The runs that ended without a result, at most `MOST_FAILURES`."""
    return tuple(
        Failure(
            cell.run_id,
            cell.arm,
            cell.task,
            cell.variation,
            cell.seed,
            cell.state.value,
            cell.reason,
        )
        for cell in failed_cells(report)[:MOST_FAILURES]
    )
