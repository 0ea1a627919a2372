"""Keeps all running experiments going: one task in the trainer service."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from mentorgrad.domain.experiment import ExperimentState
from mentorgrad.errors import MentorgradError, NotFound
from run_store.protocols import RunStore
from trainer_service.experiments.experiment_runner import Admit, ExperimentRunner
from trainer_service.experiments.run_submission import cancel_runs

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
"""How often the store is looked at when nothing wakes the coordinator."""

QUEUED_PER_SLOT = 2
"""Runs of an experiment that are queued or running for each slot, where it does not say: one is
executed and one waits, so that no slot waits for the coordinator."""

_SWEPT = 50
"""Latest experiments that are looked at when the service starts."""


class Coordinator:
    """Runs on the service's event loop; the store is called in threads.

    Args:
        store: The truth.
        admit: Creates a run.
        slots: Runs that this service executes at once.
        wake_scheduler: Tells the scheduler that something was queued.
    """

    def __init__(
        self, store: RunStore, admit: Admit, slots: int, wake_scheduler: Callable[[], None]
    ) -> None:
        self._store = store
        self._admit = admit
        self._slots = slots
        self._wake_scheduler = wake_scheduler
        self._courses: dict[str, ExperimentRunner] = {}
        self._wake = asyncio.Event()
        self._is_swept = False
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to queue runs."""
        self._loop = asyncio.create_task(self._run())

    def wake(self) -> None:
        """An experiment was created, or a run has ended; look at once."""
        self._wake.set()

    async def close(self) -> None:
        """Queues nothing more; what is under way is finished first, in some tenths of a second."""
        task, self._loop = self._loop, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            step = asyncio.ensure_future(asyncio.to_thread(self._advance_all))
            try:
                # A thread cannot be stopped, and the store must not be closed under it.
                if await asyncio.shield(step):
                    self._wake_scheduler()
                    self._wake.set()  # there may be room for more
            except asyncio.CancelledError:
                await asyncio.wait([step])
                raise
            except MentorgradError as error:
                log.warning("coordinator_retry", error=error.message)
            except Exception as error:  # a defect must not end all experiments in silence
                log.error("coordinator_failed", exc_info=error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()

    def _advance_all(self) -> int:
        """One step of every running experiment; returns how many runs were queued."""
        if not self._is_swept:
            self._sweep()
        running = self._store.running_experiments()
        for gone in set(self._courses) - set(running):
            del self._courses[gone]
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
            parallel = experiment.spec.parallel or QUEUED_PER_SLOT * self._slots
            self._courses[experiment_id] = ExperimentRunner(
                self._store, experiment, self._admit, parallel
            )
        return self._courses[experiment_id]

    def _sweep(self) -> None:
        """Ends what is left of experiments that were ended just before a service died."""
        for experiment in self._store.list_experiments(_SWEPT).experiments:
            if experiment.state in (ExperimentState.CANCELLED, ExperimentState.FAILED):
                cancel_runs(self._store, experiment.experiment_id)
        self._is_swept = True
