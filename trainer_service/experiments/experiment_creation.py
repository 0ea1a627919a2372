"""Creates experiments: validates all their runs; the coordinator then executes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from mentorgrad.domain.experiment import Experiment, ExperimentSpec
from mentorgrad.domain.spec import RunSpec
from mentorgrad.responses import CreatedExperiment
from run_store.protocols import RunStore
from trainer_service.control_plane.admission import Admission
from trainer_service.control_plane.mentor_registry import MentorRegistry
from trainer_service.experiments.experiment_checks import check_mentors, check_specs, doubts
from trainer_service.experiments.progress import with_progress


class ExperimentCreation:
    """Creates experiments at the request of clients. Calls of the store run in threads.

    Args:
        store: Store of experiments and runs.
        mentors: The mentors known by name.
        check_data: Checks the data and models that a run's spec refers to; raises `InvalidInput`.
            May be slow; called in a thread.
        wake: Wakes the coordinator.
    """

    def __init__(
        self,
        store: RunStore,
        mentors: MentorRegistry,
        check_data: Callable[[RunSpec], str],
        wake: Callable[[], None],
    ) -> None:
        self._store = store
        self._mentors = mentors
        self._check_data = check_data
        self._wake = wake
        self._admission = Admission("experiments", at_once=1)

    def drain(self) -> None:
        """Rejects new experiments from now on; known ones are still returned."""
        self._admission.drain()

    async def create(self, spec: ExperimentSpec, request_id: str) -> CreatedExperiment:
        """Stores an experiment, or returns the one with this request_id without validating it
        again.

        Raises:
            InvalidInput: The spec or the request_id is invalid.
            AlreadyExists: The request_id belongs to an experiment with another spec.
            PreconditionFailed: A required mentor does not answer.
            Unavailable: The service is about to stop.
        """
        if request_id:
            known = await asyncio.to_thread(self._store.find_experiment, request_id, spec)
            if known is not None:
                return CreatedExperiment(await self._with_progress(known))
        await self._admission.check(partial(check_specs, spec, self._check_data))
        warnings = (*await check_mentors(spec, self._mentors), *doubts(spec))
        made, is_new = await asyncio.to_thread(self._store.create_experiment, spec, request_id)
        self._wake()
        return CreatedExperiment(await self._with_progress(made), is_new, warnings)

    async def _with_progress(self, experiment: Experiment) -> Experiment:
        return await asyncio.to_thread(with_progress, self._store, experiment)
