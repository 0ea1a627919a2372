"""Drives one experiment from its first run to its end, in steps.

All state is read from the store: which runs exist and what state they are in. So a restarted
service continues where the previous one stopped, and services that share a store do not conflict,
because a request_id identifies one run.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping

import structlog

from mentorgrad.domain.experiment import Experiment, ExperimentState
from mentorgrad.domain.run import Run, RunState
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import (
    AlreadyExists,
    InvalidInput,
    PreconditionFailed,
    ResourceExhausted,
    Unsupported,
)
from run_store.experiments import Counts
from run_store.protocols import RunStore
from trainer_service.experiments.expansion import (
    Expansion,
    Place,
    RunPurpose,
    main_places,
    tuning_places,
)
from trainer_service.experiments.progress import ended, planned
from trainer_service.experiments.run_submission import cancel_runs, runs_of
from trainer_service.experiments.tuning import choose_rates

log = structlog.get_logger(__name__)

Admit = Callable[[RunStore, str, RunSpec, str], tuple[Run, bool]]
"""(store as the owner sees it, experiment id, spec, request_id) → the run with this request_id,
queued if there was none, and whether it is new."""

MOST_AT_ONCE = 32
"""Maximum runs that one step looks up or queues, to keep steps short."""

_PATIENCE = 5
"""Steps that an experiment waits for room in the queue, unless one of its runs changes its state. A
try validates the run again, and there may be many experiments."""

_ACTIVE = (RunState.QUEUED, RunState.RUNNING, RunState.INTERRUPTED)
"""States that count against `parallel`. Paused runs do not, but the experiment waits for them."""


class ExperimentRunner:
    """Drives one experiment. Methods block; call them from one thread at a time.

    Args:
        store: Store of the experiment and its runs, as the experiment's owner sees it.
        experiment: The stored experiment, in state RUNNING.
        admit: Creates a run; see `trainer_service.control_plane.run_creation.RunCreation`.
        parallel: Returns the maximum of runs that are queued or running at once.
    """

    def __init__(
        self, store: RunStore, experiment: Experiment, admit: Admit, parallel: Callable[[], int]
    ) -> None:
        self._store = store
        self._id = experiment.experiment_id
        self._spec = experiment.spec
        self._admit = admit
        self._parallel = parallel
        self._expansion = Expansion(self._id, experiment.spec)
        self._rates: Mapping[str, float] | None = None
        self._following: dict[RunPurpose, _UpcomingRuns] = {}
        self._refused: Counts | None = None
        self._waits = 0

    def advance(self) -> int:
        """Does the next step; returns the number of runs queued."""
        counts = self._store.count_runs(self._id)
        try:
            if ended(counts, RunPurpose.TUNING) < planned(self._spec, RunPurpose.TUNING):
                return self._feed(RunPurpose.TUNING, counts)
            if self._rates is None and not self._choose():
                return 0
            if ended(counts, RunPurpose.MAIN) < planned(self._spec, RunPurpose.MAIN):
                return self._feed(RunPurpose.MAIN, counts)
            self._end(ExperimentState.FINISHED, _failures(counts))
        except (AlreadyExists, InvalidInput, Unsupported) as error:
            # Permanent: data or mentors that the specs refer to are missing or have changed.
            self._end(ExperimentState.FAILED, error.message)
        return 0

    def _choose(self) -> bool:
        """Chooses the learning rates from the tuning runs; returns whether every arm has one."""
        if not self._spec.tuning.learning_rates:
            self._rates = {}
            return True
        rates = choose_rates(self._spec, runs_of(self._store, self._id, phase=RunPurpose.TUNING))
        without = [arm.name for arm in self._spec.arms if arm.name not in rates]
        if without:
            self._end(
                ExperimentState.FAILED,
                f"no learning rate can be chosen for {', '.join(without)}: every learning rate has "
                "a tuning run that failed or diverged",
            )
            return False
        log.info("learning_rates_chosen", experiment_id=self._id, rates=rates)
        self._rates = rates
        return True

    # -- queueing -----------------------------------------------------------------------------

    def _feed(self, phase: RunPurpose, counts: Counts) -> int:
        """Queues the next runs of a phase, up to the limit of parallel runs."""
        if self._waits and counts == self._refused:
            self._waits -= 1
            return 0
        active = sum(count for (_, state), count in counts.items() if state in _ACTIVE)
        there = sum(count for (of, _), count in counts.items() if of == phase)
        ahead = self._following.get(phase)
        if ahead is None:
            ahead = _UpcomingRuns(self._places(phase, there))
        elif ahead.first is None and not active and there < planned(self._spec, phase):
            ahead = _UpcomingRuns(self._places(phase, 0))  # some were deleted: create them again
        self._following[phase] = ahead
        queued, parallel = 0, self._parallel()
        try:
            for _ in range(MOST_AT_ONCE):
                if active >= parallel or ahead.first is None:
                    break
                place = ahead.first
                spec = self._expansion.run_spec(place)
                run, is_new = self._admit(self._store, self._id, spec, place.request_id(self._id))
                ahead.drop()
                active += not run.state.is_final
                queued += is_new
        except ResourceExhausted as error:  # the queue is full, say; retried in a later step
            self._refused, self._waits = counts, _PATIENCE
            log.info("experiment_waits", experiment_id=self._id, reason=error.reason)
        if queued and self._store.get_experiment(self._id).state is not ExperimentState.RUNNING:
            cancel_runs(self._store, self._id)  # the experiment ended meanwhile
        return queued

    def _places(self, phase: RunPurpose, there: int) -> Iterator[Place]:
        """Runs of a phase in order of creation, without the first `there`, which exist already."""
        if phase is RunPurpose.TUNING:
            places = tuning_places(self._spec)
        else:
            places = main_places(self._spec, self._rates or {})
        return itertools.islice(places, there, None)

    # -- the end ------------------------------------------------------------------------------

    def _end(self, state: ExperimentState, reason: str) -> None:
        try:
            self._store.set_experiment_state(self._id, state, reason)
        except PreconditionFailed:  # another service, or a cancel, was first
            return
        log.info("experiment_ended", experiment_id=self._id, state=state.value, reason=reason)
        if state is ExperimentState.FAILED:
            cancel_runs(self._store, self._id)


def _failures(counts: Counts) -> str:
    """State reason of a finished experiment: its failed runs, if any."""
    failed = sum(
        count
        for (_, state), count in counts.items()
        if state.is_final and state is not RunState.SUCCEEDED
    )
    return f"{failed} of {ended(counts)} runs ended without a result" if failed else ""


class _UpcomingRuns:
    """Iterator of upcoming runs with one item of lookahead."""

    def __init__(self, places: Iterator[Place]) -> None:
        self._places = places
        self.first: Place | None = next(places, None)

    def drop(self) -> None:
        self.first = next(self._places, None)
