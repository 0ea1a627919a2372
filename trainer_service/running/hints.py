"""Gradient hints: what the gradient at the incumbent says of tokens, for a stage's question.

A hint is one backward pass on one train batch. The batch is drawn by the seed and the stage, and
the point is the incumbent's, so the same question comes with the same hint however often it is
asked. It is charged once, as a gradient step; an answer in the log says whether it was.
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
    """Hints for one run.

    Args:
        spec: The run's.
        objective: Has the gradients.
        mentor: Who may want them.
    """

    def __init__(self, spec: RunSpec, objective: Objective, mentor: FallbackMentor) -> None:
        self._count = spec.mentor.hint_tokens
        self._objective = objective
        self._mentor = mentor
        self._batches = batch_order(spec, objective, "hint")

    def are_due(self, request_id: str, ledger: Ledger, least: int = 1) -> bool:
        """Whether a question comes with a hint: it did, where the log holds its answer; otherwise
        when the mentor wants one and there are `least` gradient steps left."""
        known = self._mentor.logged(request_id)
        if known is not None:
            return known.usage.hint_steps > ledger.usage.hint_steps
        wanted = self._objective.has_hints and self._mentor.wants.hints
        return wanted and ledger.steps_left >= least

    def at(self, at: LoopState, request_id: str) -> tuple[PositionHints, ...]:
        """The hint at the incumbent; none where the answer is known already."""
        if self._mentor.logged(request_id) is not None:
            return ()
        rows = self._batches.rows(at.stage)
        return self._objective.hints(at.incumbent.parameters, rows, self._count)
