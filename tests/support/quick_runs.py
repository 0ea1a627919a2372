"""Ends queued runs at once, as an executor of very quick workers would."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from mentorgrad.domain.event import Finished, RunEvent
from mentorgrad.domain.query import RunFilter, RunOrder
from mentorgrad.domain.run import Candidate, Run, RunResult, RunState, Score, Usage
from run_store.protocols import RunStore

Loss = Callable[[Run], float | None]
"""A run's selection loss; None: it fails."""


def end_runs(store: RunStore, loss: Loss, most: int = 1000) -> list[Run]:
    """Ends the oldest queued runs; returns them as they end."""
    page = store.list_runs(RunFilter(states=(RunState.QUEUED,)), RunOrder.OLDEST, most)
    return [end_run(store, run, loss(run)) for run in page.runs]


def end_run(store: RunStore, run: Run, loss: float | None) -> Run:
    """Claims and ends one run, with a test loss of twice its selection loss."""
    lease = store.claim(run.run_id, "quick", timedelta(minutes=1))
    if loss is None:
        return store.transition(run.run_id, RunState.FAILED, "as told", attempt=lease.attempt)
    usage = Usage(gradient_steps=10, evaluations=2, train_time=timedelta(seconds=3))
    returned = Candidate("s0/step10", score=Score(loss, rows=5))
    result = RunResult(returned, Score(2 * loss, 0.5, 10), majority_accuracy=0.4, usage=usage)
    finished = Finished(RunState.SUCCEEDED, result)
    event = RunEvent(run.run_id, lease.last_seq + 1, lease.attempt, datetime.now(UTC), finished)
    store.append(run.run_id, lease.attempt, [event])
    return store.get_run(run.run_id)
