"""Answers an optimizer's questions about one batch, and counts the forward rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mentorgrad.domain.run import Score, criterion
from mentorgrad.domain.spec import Criterion
from mentorgrad.errors import PreconditionFailed
from trainer_service.costs import FORWARD, FORWARD_BACKWARD, FORWARD_MODE
from trainer_service.objectives.problem import Problem
from trainer_service.tasks.data import Split


class BatchOracle:
    """The `Oracle` of one step.

    Args:
        problem: The losses.
        rows: The step's batch: int64 train row indices.
        generator: Returns a CPU generator at the beginning of the step's random stream.
        passes: Forward rows per row of the batch that the step may take at most.
        gradient: (point, loss, gradient) that the caller has computed together with those of other
            branches; the optimizer's question for the gradient at this very tensor is answered with
            it, and counted then.
        by: The run's criterion.
    """

    def __init__(
        self,
        problem: Problem,
        rows: Tensor,
        generator: Callable[[], torch.Generator],
        passes: int,
        gradient: tuple[Tensor, Tensor, Tensor] | None = None,
        by: Criterion = Criterion.LOSS,
    ) -> None:
        self._problem = problem
        self._rows = rows
        self._generator = generator
        self._known = gradient
        self._by = by
        self._each = problem.costs.of(len(rows))
        self._most = passes * self._each
        self.forward_rows = 0
        """Forward rows of the questions so far."""

    @property
    def unit(self) -> float:
        """See `Oracle`."""
        return self._problem.unit

    def _count(self, passes: int) -> None:
        if self.forward_rows + passes * self._each > self._most:
            raise PreconditionFailed(
                f"the optimizer's step asks for more than the {self._most} forward rows that its "
                "entry in the table of optimizers declares",
                reason="STEP_COST_EXCEEDED",
            )
        self.forward_rows += passes * self._each

    def losses(self, points: Tensor) -> Tensor:
        """See `Oracle`."""
        self._count(FORWARD * len(points))
        return self._problem.mean_losses(points, self._rows)

    def values(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """See `Oracle`."""
        if self._by is Criterion.LOSS:
            losses = values = self.losses(points)
        else:
            self._count(FORWARD * len(points))
            scores = self._problem.results(points, Split.TRAIN, self._rows).scores()
            losses = points.new_tensor([score.loss for score in scores])
            values = points.new_tensor([self._value(score) for score in scores])
        return losses, torch.where(losses.isfinite(), values, torch.inf)

    def _value(self, score: Score) -> float:
        is_defined = getattr(score, self._by.value) is not None
        return criterion(score, self._by if is_defined else Criterion.ACCURACY)

    @torch.enable_grad()
    def gradient(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """See `Oracle`."""
        self._require_gradients()
        self._count(FORWARD_BACKWARD)
        known, self._known = self._known, None
        if known is not None and known[0] is point:
            return known[1], known[2]
        (loss,), (gradient,) = self._problem.gradients(point[None], self._rows)
        return loss, gradient

    @torch.enable_grad()
    def derivative(self, point: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        """See `Oracle`."""
        self._require_gradients()
        self._count(FORWARD_MODE)
        return self._problem.derivative(point, direction, self._rows)

    def generator(self) -> torch.Generator:
        """See `Oracle`."""
        return self._generator()

    def _require_gradients(self) -> None:
        if not self._problem.has_gradients:
            raise PreconditionFailed(
                "the optimizer asks for gradients, which this objective does not have",
                reason="NO_GRADIENTS",
            )


def branch_oracles(
    problem: Problem,
    rows: Tensor,
    generator: Callable[[], torch.Generator],
    passes: int,
    branches: Sequence[Tensor],
    *,
    is_first_order: bool,
    by: Criterion = Criterion.LOSS,
) -> list[BatchOracle]:
    """One oracle per branch of a race, for a step of each on the same batch.

    Args:
        problem: The losses.
        rows: The step's batch.
        generator: Returns a generator; all branches draw the same random numbers.
        passes: Forward rows per row of the batch that each step may take at most.
        branches: The parameters [*shape] of each branch, which the steps will update.
        is_first_order: Whether the gradients of all branches are computed together.
        by: The run's criterion.
    """
    if not is_first_order:
        return [BatchOracle(problem, rows, generator, passes, by=by) for _ in branches]
    losses, gradients = problem.gradients(torch.stack(list(branches)), rows)
    return [
        BatchOracle(problem, rows, generator, passes, known, by)
        for known in zip(branches, losses, gradients, strict=True)
    ]
