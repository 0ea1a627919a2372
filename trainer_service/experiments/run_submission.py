"""Lists and cancels the runs of an experiment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from mentorgrad.domain.experiment import Experiment, ExperimentState
from mentorgrad.domain.query import RunFilter, RunOrder
from mentorgrad.domain.run import Run, RunState
from mentorgrad.errors import NotFound, PreconditionFailed
from run_store.experiments import PHASE
from run_store.protocols import RunStore
from trainer_service.control_plane import run_lifecycle
from trainer_service.experiments.expansion import RunPurpose
from trainer_service.experiments.progress import with_progress

PAGE = 500
"""Page size when listing runs."""

UNENDED = tuple(state for state in RunState if not state.is_final)


def runs_of(
    store: RunStore,
    experiment_id: str,
    *,
    phase: RunPurpose | None = None,
    states: tuple[RunState, ...] = (),
) -> Iterator[Run]:
    """Yields an experiment's runs, oldest first, read in pages."""
    labels = {PHASE: phase.value} if phase is not None else {}
    wanted, token = RunFilter(states=states, labels=labels, experiment_id=experiment_id), ""
    while True:
        page = store.list_runs(wanted, RunOrder.OLDEST, PAGE, token)
        yield from page.runs
        token = page.next_page_token
        if not token:
            return


def cancel_runs(store: RunStore, experiment_id: str) -> int:
    """Cancels the unended runs of an experiment; returns their number."""
    found = list(runs_of(store, experiment_id, states=UNENDED))
    for run in found:
        with suppress(NotFound, PreconditionFailed):  # it has ended or was deleted meanwhile
            run_lifecycle.cancel(store, run.run_id)
    return len(found)


def cancel_experiment(store: RunStore, experiment_id: str) -> Experiment:
    """Cancels an experiment, then its runs; returns it with its progress.

    Raises:
        NotFound: The experiment does not exist.
        PreconditionFailed: It has ended already.
    """
    cancelled = store.set_experiment_state(
        experiment_id, ExperimentState.CANCELLED, "cancelled on request"
    )
    cancel_runs(store, experiment_id)
    return with_progress(store, cancelled)
