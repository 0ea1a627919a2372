"""A small picture of a run for lists: the best selection loss over the steps, in few points."""

from __future__ import annotations

from dataclasses import dataclass

from mentorgrad.schema import bounded

MOST_POINTS = 32
"""Maximum points of a line."""


@dataclass(frozen=True)
class LossLine:
    """The lowest selection loss over the steps of a run, thinned to at most 32 points."""

    steps: tuple[int, ...] = bounded((), max_length=1_000)
    """Steps of the trajectory, ascending; one per point."""
    losses: tuple[float, ...] = bounded((), max_length=1_000)
    """Lowest selection loss of any candidate until then; as many as `steps`, never ascending."""

    def with_point(self, step: int, loss: float) -> LossLine:
        """The line with one more point at its end.

        Of the scores at one step the last one stands. If the points are too many, the inner one
        goes whose neighbours are closest to each other, so that the others stay spread over the
        whole run however long it becomes. First and last point always stay.

        Args:
            step: Step of the trajectory; one before the last point's counts as that one.
            loss: Lowest selection loss until then; finite.
        """
        step = max([step, *self.steps[-1:]])
        kept = len(self.steps) - (self.steps[-1:] == (step,))
        steps = [*self.steps[:kept], step]
        losses = [*self.losses[:kept], loss]
        if len(steps) > MOST_POINTS:
            inner = min(range(1, len(steps) - 1), key=lambda at: steps[at + 1] - steps[at - 1])
            del steps[inner], losses[inner]
        return LossLine(tuple(steps), tuple(losses))
