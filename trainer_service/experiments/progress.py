"""How far an experiment is: from counts, and from the pace of its latest runs."""

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
from run_store.experiments import EXPERIMENT, Counts
from run_store.protocols import RunStore
from trainer_service.experiments.expansion import RunPurpose

SAMPLE = 16
"""Latest ended runs from which the time left is told."""

BREAK = timedelta(seconds=60)
"""Without an end for so much longer than a run takes, nothing was executed."""

_LONGEST = 3
"""A run that lasted longer than so many times the median was broken off in between."""

_UNSUCCESSFUL = (RunState.FAILED, RunState.CANCELLED)


def ended(counts: Counts, phase: RunPurpose | None = None) -> int:
    """Runs that have ended, of one phase or of all."""
    return sum(
        count for (of, state), count in counts.items() if state.is_final and phase in (None, of)
    )


def planned(spec: ExperimentSpec, phase: RunPurpose) -> int:
    """Runs that a phase will have."""
    tuning = len(spec.arms) * len(spec.tuning.learning_rates) * len(spec.tuning.seeds)
    return tuning if phase is RunPurpose.TUNING else spec.runs - tuning


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
        tuning=ended(counts, RunPurpose.TUNING) < planned(spec, RunPurpose.TUNING),
    )


def pace(latest: Sequence[Run]) -> timedelta | None:
    """Time from one run's end to the next one's, with all that lies between two runs.

    Args:
        latest: Runs that have ended, the latest of them; a break of the service counts for nothing.

    Returns:
        None while nothing is known.
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
    """The experiment with its progress; reads counts, and a few runs while it goes on.

    Args:
        store: Where its runs are.
        experiment: As it is stored.
    """
    spec = experiment.spec
    found = progress(spec, store.count_runs(experiment.experiment_id))
    if experiment.state is not ExperimentState.RUNNING:
        return replace(experiment, progress=replace(found, tuning=False))
    wanted = RunFilter(
        states=(RunState.SUCCEEDED, RunState.FAILED), labels={EXPERIMENT: experiment.experiment_id}
    )
    page = store.list_runs(wanted, RunOrder.NEWEST, SAMPLE)
    each = pace(page.runs)
    # One that is running is half done, on average.
    left = each * (found.waiting + found.running / 2) if each is not None else None
    return replace(experiment, progress=replace(found, time_left=left))
