"""Gradient hints: per position, the tokens that the gradient at the incumbent favours.

A hint takes one backward pass over one train batch. The batch depends on the seed and the stage
only, so a repeated request contains the same hint. A hint is charged once, as a gradient step; for
a logged answer, its recorded usage says whether a hint was charged.
"""

from __future__ import annotations

from mentorgrad.domain.advice import PositionHints
from mentorgrad.domain.spec import RunSpec
from trainer_service.mentors.fallback import FallbackMentor
from trainer_service.protocols import Objective
from trainer_service.running.budget import Ledger
from trainer_service.running.loop_state import LoopState
from trainer_service.running.restart_decision import batch_order


class Hints:
    """Computes the hints of one run.

    Args:
        spec: The run's spec.
        objective: Computes the gradients.
        mentor: The mentor, which may ask for hints.
    """

    def __init__(self, spec: RunSpec, objective: Objective, mentor: FallbackMentor) -> None:
        self._count = spec.mentor.hint_tokens
        self._objective = objective
        self._mentor = mentor
        self._batches = batch_order(spec, objective.problem, "hint")

    def are_due(self, request_id: str, ledger: Ledger, least: int = 1) -> bool:
        """Whether a request contains a hint. If the log holds its answer, this is what was logged;
        otherwise, whether the mentor wants hints and at least `least` gradient steps are left."""
        known = self._mentor.logged(request_id)
        if known is not None:
            return known.usage.hint_steps > ledger.usage.hint_steps
        wanted = self._objective.has_hints and self._mentor.wants.hints
        return wanted and ledger.allows(ledger.prices.hint + ledger.prices.step * (least - 1))

    def at(self, at: LoopState, request_id: str) -> tuple[PositionHints, ...]:
        """The hint at the incumbent, by position; empty if the log holds the answer already."""
        if self._mentor.logged(request_id) is not None:
            return ()
        point, rows = at.incumbent.parameters.detach(), self._batches.rows(at.stage)
        _, (gradient,) = self._objective.problem.gradients(point[None], rows)
        return self._objective.language.hints(point, gradient, self._count)
