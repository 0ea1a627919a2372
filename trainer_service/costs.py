"""What the parts of a run cost. Imports no torch, so that the service can check budgets.

A *forward row* is one row that passes once through the tuned model. It is the unit in which
objectives and optimizers are compared: a forward-mode derivative counts twice a forward pass, a
forward and backward pass three times.
"""

from __future__ import annotations

from dataclasses import dataclass

FORWARD = 1
"""Forward rows per row of a forward pass."""
FORWARD_MODE = 2
"""Forward rows per row of a forward pass with a forward-mode derivative."""
FORWARD_BACKWARD = 3
"""Forward rows per row of a forward and backward pass."""


@dataclass(frozen=True)
class Cost:
    """The cost of an action, in the units of the budget's limits."""

    gradient_steps: int = 0
    """Optimizer steps, whatever each of them costs."""
    evaluations: int = 0
    """Parameters scored on the whole selection split."""
    forward_rows: int = 0
    """Rows through the tuned model."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.gradient_steps + other.gradient_steps,
            self.evaluations + other.evaluations,
            self.forward_rows + other.forward_rows,
        )

    def __mul__(self, times: int) -> Cost:
        return Cost(
            self.gradient_steps * times, self.evaluations * times, self.forward_rows * times
        )


@dataclass(frozen=True)
class RowCosts:
    """Forward rows of an objective's passes, by the number of data rows."""

    per_row: int = 1
    """Per data row and parameter."""
    per_pass: int = 0
    """Per parameter, whatever the number of data rows."""
    setup: int = 0
    """Once per run, to fill caches."""
    per_score: int = 0
    """Per parameter that is scored, besides its rows: inputs of a calibration."""

    def of(self, rows: int) -> int:
        """Forward rows of one parameter's forward pass over `rows` data rows."""
        return self.per_pass + self.per_row * rows


@dataclass(frozen=True)
class Prices:
    """Costs of the actions of one run.

    Args:
        costs: Forward rows of the objective's passes.
        batch: Train rows per step.
        selection_rows: Rows of the selection split.
        passes: Forward rows that one step of the optimizer takes at most per row of its batch.
    """

    costs: RowCosts
    batch: int
    selection_rows: int
    passes: int = FORWARD_BACKWARD

    @property
    def step(self) -> Cost:
        """The largest cost of one optimizer step."""
        return Cost(gradient_steps=1, forward_rows=self.passes * self.costs.of(self.batch))

    @property
    def score(self) -> Cost:
        """One parameter scored on the whole selection split."""
        rows = self.costs.of(self.selection_rows) + self.costs.per_score
        return Cost(evaluations=1, forward_rows=rows)

    @property
    def hint(self) -> Cost:
        """The backward pass of a gradient hint, which counts as a gradient step."""
        rows = FORWARD_BACKWARD * self.costs.of(self.batch)
        return Cost(gradient_steps=1, forward_rows=rows)

    @property
    def setup(self) -> Cost:
        """The caches that are filled before the first step."""
        return Cost(forward_rows=self.costs.setup)

    def exemplars(self, rows: int, parameters: int = 1) -> Cost:
        """The losses of some parameters on the train rows that the mentor is shown."""
        return Cost(forward_rows=parameters * self.costs.of(rows))
