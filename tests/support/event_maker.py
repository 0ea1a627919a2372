"""Makes plausible events of a run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from mentorgrad.domain.event import CandidatesScored, Payload, RunEvent, Segment
from mentorgrad.domain.run import Candidate, CandidateSource, Score, Snapshot, Usage


class EventMaker:
    """Numbers a run's events and makes the bulkier payloads.

    Args:
        run_id: The run.
        seq: Number of its last event.
        attempt: Who writes.
    """

    start = datetime(2026, 1, 1, tzinfo=UTC)

    def __init__(self, run_id: str, seq: int = 0, attempt: int = 0) -> None:
        self.run_id = run_id
        self.seq = seq
        self.attempt = attempt

    def __call__(self, payload: Payload, attempt: int | None = None) -> RunEvent:
        """The next event."""
        self.seq += 1
        self.attempt = self.attempt if attempt is None else attempt
        time = self.start + timedelta(seconds=self.seq)
        return RunEvent(self.run_id, self.seq, self.attempt, time, payload)

    @staticmethod
    def segment(
        first: int, last: int, stage: int = 0, shape: tuple[int, ...] | None = (2, 3)
    ) -> Segment:
        """Snapshots of steps `first`..`last`; row i of the parameters is filled with its step."""
        steps = range(first, last + 1)
        snapshots = tuple(
            Snapshot(step=step, train_loss=1 / step, learning_rate=0.1, text=f"word {step}")
            for step in steps
        )
        parameters = None
        if shape is not None:
            parameters = np.stack([np.full(shape, step, np.float32) for step in steps])
        return Segment(stage, first, last, snapshots, parameters)

    @staticmethod
    def scored(stage: int, *losses: float, evaluations: int = 0, **fields: Any) -> CandidatesScored:
        """Candidates of these losses, called ``s<stage>/<index>``."""
        found = tuple(
            Candidate(
                candidate_id=f"s{stage}/{index}",
                stage=stage,
                score=Score(loss=loss, accuracy=0.5, rows=10),
                **{"source": CandidateSource.SNAPSHOT, **fields},
            )
            for index, loss in enumerate(losses)
        )
        return CandidatesScored(stage, found, Usage(evaluations=evaluations))
