"""The objective ``function``: classic numeric test functions for optimisers.

The parameter is the point itself. There is no data, and a projection is the point written as
numbers. Restarts matter here: three of the four functions have many local minima.

This module imports no torch; `problem` does.
"""

from __future__ import annotations

from mentorgrad.domain.objective import Function
from trainer_service.costs import RowCosts
from trainer_service.objectives.kinds import CheckInputs, ObjectiveKind
from trainer_service.tasks.data import TaskData

FUNCTION_BOUNDS: dict[str, tuple[float, float]] = {
    "rastrigin": (-5.12, 5.12),
    "ackley": (-32.768, 32.768),
    "rosenbrock": (-5.0, 10.0),
    "levy": (-10.0, 10.0),
}
"""Lower and upper bound of every variable by function name, as in Surjanovic and Bingham, "Virtual
Library of Simulation Experiments: Test Functions and Datasets"."""

LEAST_DIMENSIONS: dict[str, int] = {"rosenbrock": 2}
"""Minimum number of variables, for functions that need more than one."""


def check(spec: Function, inputs: CheckInputs) -> None:
    """Checks the function's name and the number of variables."""
    if spec.name not in FUNCTION_BOUNDS:
        known = ", ".join(FUNCTION_BOUNDS)
        inputs.findings.add(f"{inputs.path}.name", f"must be one of: {known}")
    least = LEAST_DIMENSIONS.get(spec.name, 1)
    if spec.dimensions < least:
        limit = f"must be at least {least} for {spec.name}"
        inputs.findings.add(f"{inputs.path}.dimensions", limit)


def costs(spec: Function, task: TaskData | None) -> RowCosts:
    """An evaluation of the function counts 1."""
    return RowCosts(per_row=0, per_pass=1)


KIND = ObjectiveKind(
    Function,
    "trainer_service.objectives.function.problem:build",
    costs,
    check,
    uses_task=False,
    has_words=False,
    forward_row="an evaluation of the function",
)
