"""Progress of an experiment: run counts and an estimate of the remaining time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from statistics import median_low

from mentorgrad.domain.experiment import (
    Experiment,
    ExperimentProgress,
    ExperimentSpec,
    ExperimentState,
)
from mentorgrad.domain.query import RunFilter, RunOrder
from mentorgrad.domain.run import Run, RunState
from run_store.experiments import Counts
from run_store.protocols import RunStore
from trainer_service.experiments.expansion import RunPurpose

SAMPLE = 16
"""Number of latest ended runs that the remaining time is estimated from."""

BREAK = timedelta(seconds=60)
"""A gap between two runs' ends that exceeds the longest run by this much counts as downtime."""

_LONGEST = 3
"""A run longer than this many times the median is assumed to have been interrupted."""

_UNSUCCESSFUL = (RunState.FAILED, RunState.CANCELLED)


def ended(counts: Counts, phase: RunPurpose | None = None) -> int:
    """Number of ended runs, of one phase or of all phases."""
    return sum(
        count for (of, state), count in counts.items() if state.is_final and phase in (None, of)
    )


def planned(spec: ExperimentSpec, phase: RunPurpose) -> int:
    """Planned number of runs of a phase."""
    tuning = len(spec.arms) * len(spec.tuning.learning_rates) * len(spec.tuning.seeds)
    return tuning if phase is RunPurpose.TUNING else spec.runs - tuning


def progress(spec: ExperimentSpec, counts: Counts) -> ExperimentProgress:
    """Number of runs by state."""

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
        tuning=ended(counts, RunPurpose.TUNING) < planned(spec, RunPurpose.TUNING),
    )


def pace(latest: Sequence[Run]) -> timedelta | None:
    """Mean time between the ends of consecutive runs, overhead between runs included.

    Args:
        latest: The latest ended runs; downtime of the service between them is not counted.

    Returns:
        None without runs that were started and ended.
    """
    spans = [
        (run.finished_at, run.started_at)
        for run in latest
        if run.finished_at is not None and run.started_at is not None
    ]
    if not spans:
        return None
    longest = _LONGEST * median_low(end - start for end, start in spans)
    spans = sorted(((end, max(start, end - longest)) for end, start in spans), reverse=True)
    break_off = max(end - start for end, start in spans) + BREAK
    together = 1
    while together < len(spans) and spans[together - 1][0] - spans[together][0] < break_off:
        together += 1
    return (spans[0][0] - min(start for _, start in spans[:together])) / together


def with_progress(store: RunStore, experiment: Experiment) -> Experiment:
    """Adds progress to an experiment; reads counts and, while it is running, its latest runs.

    Args:
        store: Store of the experiment's runs.
        experiment: The stored experiment.
    """
    spec = experiment.spec
    found = progress(spec, store.count_runs(experiment.experiment_id))
    if experiment.state is not ExperimentState.RUNNING:
        return replace(experiment, progress=replace(found, tuning=False))
    wanted = RunFilter(
        states=(RunState.SUCCEEDED, RunState.FAILED), experiment_id=experiment.experiment_id
    )
    page = store.list_runs(wanted, RunOrder.NEWEST, SAMPLE)
    each = pace(page.runs)
    # On average, a running run is half done.
    left = each * (found.waiting + found.running / 2) if each is not None else None
    return replace(experiment, progress=replace(found, time_left=left))
