"""How far an experiment is: from counts, and from how long its latest runs took."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from mentorgrad.model.experiment import (
    Experiment,
    ExperimentProgress,
    ExperimentSpec,
    ExperimentState,
)
from mentorgrad.model.query import RunFilter, RunOrder
from mentorgrad.model.run import RunState
from run_store.experiments import EXPERIMENT, Counts
from run_store.protocols import RunStore
from trainer_service.experiments.expansion import Phase

SAMPLE = 16
"""Latest ended runs from which the time left is told."""

_UNSUCCESSFUL = (RunState.FAILED, RunState.CANCELLED)


def ended(counts: Counts, phase: Phase | None = None) -> int:
    """Runs that have ended, of one phase or of all."""
    return sum(
        count for (of, state), count in counts.items() if state.is_final and phase in (None, of)
    )


def planned(spec: ExperimentSpec, phase: Phase) -> int:
    """Runs that a phase will have."""
    tuning = len(spec.arms) * len(spec.tuning.learning_rates) * len(spec.tuning.seeds)
    return tuning if phase is Phase.TUNING else spec.runs - tuning


def progress(spec: ExperimentSpec, counts: Counts) -> ExperimentProgress:
    """How many runs are where."""

    def of(*states: RunState) -> int:
        return sum(count for (_, state), count in counts.items() if state in states)

    succeeded, failed = of(RunState.SUCCEEDED), of(*_UNSUCCESSFUL)
    running = of(RunState.RUNNING)
    return ExperimentProgress(
        total=spec.runs,
        waiting=max(spec.runs - running - succeeded - failed, 0),
        running=running,
        succeeded=succeeded,
        failed=failed,
        tuning=ended(counts, Phase.TUNING) < planned(spec, Phase.TUNING),
    )


def time_left(
    found: ExperimentProgress, durations: list[timedelta], lanes: int
) -> timedelta | None:
    """About how long the rest takes; None while nothing is known.

    Args:
        found: How many runs are where.
        durations: Of some runs that have ended.
        lanes: Runs that are executed at once.
    """
    if not durations:
        return None
    each = sum(durations, timedelta()) / len(durations)
    # One that is running is half done, on average.
    return each * (found.waiting + found.running / 2) / max(lanes, 1)


def with_progress(store: RunStore, experiment: Experiment, slots: int) -> Experiment:
    """The experiment with its progress; reads counts, and a few runs while it goes on.

    Args:
        store: Where its runs are.
        experiment: As it is stored.
        slots: Runs that the trainer executes at once.
    """
    spec = experiment.spec
    found = progress(spec, store.count_runs(experiment.experiment_id))
    if experiment.state is not ExperimentState.RUNNING:
        return replace(experiment, progress=replace(found, tuning=False))
    wanted = RunFilter(
        states=(RunState.SUCCEEDED, RunState.FAILED), labels={EXPERIMENT: experiment.experiment_id}
    )
    page = store.list_runs(wanted, RunOrder.NEWEST, SAMPLE)
    durations = [
        run.finished_at - run.started_at
        for run in page.runs
        if run.finished_at is not None and run.started_at is not None
    ]
    lanes = min(slots, spec.parallel or slots)
    return replace(
        experiment, progress=replace(found, time_left=time_left(found, durations, lanes))
    )
