"""Background task of the trainer service that advances all running experiments."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import asdict

import structlog

from mentorgrad.domain.experiment import ExperimentState
from mentorgrad.errors import MentorgradError, NotFound
from run_store.protocols import RunStore
from run_store.visibility import NO_LIMITS, OnBehalf, OwnerLimits
from trainer_service.experiments.experiment_runner import Admit, ExperimentRunner
from trainer_service.experiments.run_submission import cancel_runs

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
"""Poll interval of the store when nothing wakes the coordinator, in seconds."""

QUEUED_PER_SLOT = 2
"""Default limit of queued and running runs per slot, for an experiment without `parallel`. One run
executes and one waits, so no slot idles until the coordinator queues the next run."""

_SWEPT = 50
"""Number of latest experiments that are checked when the service starts."""


class Coordinator:
    """Advances all running experiments; uses the service's event loop, and threads for the store.

    Args:
        store: Store of experiments and runs.
        admit: Creates a run.
        wake_scheduler: Tells the scheduler that runs were queued.
        limits: What an owner's experiments may use up.
    """

    def __init__(
        self,
        store: RunStore,
        admit: Admit,
        wake_scheduler: Callable[[], None],
        limits: OwnerLimits = NO_LIMITS,
    ) -> None:
        self._store = store
        self._admit = admit
        self._slots = 1
        self._wake_scheduler = wake_scheduler
        self._limits = asdict(limits)
        self._courses: dict[str, ExperimentRunner] = {}
        self._wake = asyncio.Event()
        self._is_swept = False
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts the background task."""
        self._loop = asyncio.create_task(self._run())

    def wake(self) -> None:
        """Triggers a step now: an experiment was created, or a run has ended."""
        self._wake.set()

    async def close(self) -> None:
        """Stops the background task after its current step, which takes some tenths of a second."""
        task, self._loop = self._loop, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        is_away = False
        while True:
            self._wake.clear()
            step = asyncio.ensure_future(asyncio.to_thread(self._advance_all))
            try:
                # The thread cannot be stopped, and it uses the store, so wait for it.
                if await asyncio.shield(step):
                    self._wake_scheduler()
                    self._wake.set()  # there may be room for more
                is_away = False
            except asyncio.CancelledError:
                await asyncio.wait([step])
                raise
            except MentorgradError as error:
                if not is_away:
                    log.warning("coordinator_retry", error=error.message)
                is_away = True
            except Exception as error:  # a bug must not silently stop all experiments
                log.error("coordinator_failed", exc_info=error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()

    def _advance_all(self) -> int:
        """Advances every running experiment by one step; returns the number of runs queued."""
        if not self._is_swept:
            self._sweep()
        running = self._store.running_experiments()
        for gone in set(self._courses) - set(running):
            del self._courses[gone]
        if running:
            self._slots = self._count_slots()
        queued = 0
        for experiment_id in running:
            try:
                queued += self._runner(experiment_id).advance()
            except NotFound:
                self._courses.pop(experiment_id, None)
            except MentorgradError as error:
                log.warning("experiment_retry", experiment_id=experiment_id, error=error.message)
        return queued

    def _runner(self, experiment_id: str) -> ExperimentRunner:
        if experiment_id not in self._courses:
            experiment = self._store.get_experiment(experiment_id)
            limit = experiment.spec.parallel
            owner = OnBehalf(experiment.owner, experiment.project, **self._limits)
            self._courses[experiment_id] = ExperimentRunner(
                self._store.seen_by(owner),
                experiment,
                self._admit,
                lambda: limit or QUEUED_PER_SLOT * self._slots,
            )
        return self._courses[experiment_id]

    def _count_slots(self) -> int:
        """Runs that all agents of the store execute at once; at least one, which may wait for an
        agent."""
        taking = [one for one in self._store.list_workers() if one.is_alive()]
        return max(sum(one.slots for one in taking if not one.is_draining), 1)

    def _sweep(self) -> None:
        """Cancels runs left over from experiments that ended just before a service crashed."""
        for experiment in self._store.list_experiments(_SWEPT).experiments:
            if experiment.state in (ExperimentState.CANCELLED, ExperimentState.FAILED):
                cancel_runs(self._store, experiment.experiment_id)
        self._is_swept = True
