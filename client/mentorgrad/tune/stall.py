"""Whether a run should be stopped: selection no longer improves, or the time is up."""

from __future__ import annotations

from collections.abc import Callable

from mentorgrad.domain.event import CandidatesScored, RunEvent, Segment, StageStarted
from mentorgrad.domain.run import preference
from mentorgrad.domain.spec import Criterion


class Stall:
    """Watches the events of a run.

    Args:
        patience: Stages without a better candidate after which the run is stopped; 0: it is not.
        by: What ranks candidates.
        deadline: When the run is stopped if it has a candidate, on `clock`.
        clock: Seconds.
    """

    def __init__(
        self, patience: int, by: Criterion, deadline: float, clock: Callable[[], float]
    ) -> None:
        self._patience = patience
        self._by = by
        self._deadline = deadline
        self._clock = clock
        self._best: tuple[float, float] | None = None
        self._best_stage = 0

    def reason(self, event: RunEvent) -> str:
        """Why the run should be stopped after this event; empty: it should not."""
        payload = event.payload
        if isinstance(payload, CandidatesScored):
            for candidate in payload.candidates:
                rank = preference(candidate.score, self._by)
                if self._best is None or rank < self._best:
                    self._best, self._best_stage = rank, payload.stage
        if self._best is None or not isinstance(payload, (StageStarted, Segment)):
            return ""
        if isinstance(payload, StageStarted) and self._patience:
            waited = payload.stage - self._best_stage - 1
            if waited >= self._patience:
                return f"no better candidate in {waited} stage{'' if waited == 1 else 's'}"
        return "the time for training is up" if self._clock() >= self._deadline else ""
