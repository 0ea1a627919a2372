"""Creates experiments: validates all their runs; the coordinator then executes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from mentorgrad.domain.experiment import Experiment, ExperimentSpec
from mentorgrad.responses import CreatedExperiment
from run_store.protocols import RunStore
from trainer_service.control_plane.admission import Admission
from trainer_service.control_plane.data_check import DataCheck
from trainer_service.control_plane.mentor_registry import MentorRegistry
from trainer_service.experiments.experiment_checks import check_mentors, check_specs, doubts
from trainer_service.experiments.progress import with_progress


class ExperimentCreation:
    """Creates experiments at the request of clients. Calls of the store run in threads.

    Args:
        mentors: The mentors known by name.
        check_data: Validates what a run's spec refers to; may be slow, and is called in a thread.
        wake: Wakes the coordinator.
    """

    def __init__(
        self,
        mentors: MentorRegistry,
        check_data: DataCheck,
        wake: Callable[[], None],
    ) -> None:
        self._mentors = mentors
        self._check_data = check_data
        self._wake = wake
        self._admission = Admission("experiments", at_once=1)

    def drain(self) -> None:
        """Rejects new experiments from now on; known ones are still returned."""
        self._admission.drain()

    async def create(
        self, store: RunStore, spec: ExperimentSpec, request_id: str
    ) -> CreatedExperiment:
        """Stores an experiment, or returns the one with this request_id without validating it
        again.

        Args:
            store: Store of experiments and runs, as the caller sees it.
            spec: The experiment's spec.
            request_id: Idempotency key; empty: none.

        Raises:
            InvalidInput: The spec or the request_id is invalid.
            AlreadyExists: The request_id belongs to an experiment with another spec.
            PreconditionFailed: A required mentor does not answer.
            Unavailable: The service is about to stop.
        """
        if request_id:
            known = await asyncio.to_thread(store.find_experiment, request_id, spec)
            if known is not None:
                return CreatedExperiment(await _with_progress(store, known))
        check = partial(check_specs, spec, partial(self._check_data, store=store))
        proposed = await self._admission.check(check)
        warnings = (*await check_mentors(spec, self._mentors, proposed), *doubts(spec))
        made, is_new = await asyncio.to_thread(store.create_experiment, spec, request_id)
        self._wake()
        return CreatedExperiment(await _with_progress(store, made), is_new, warnings)


async def _with_progress(store: RunStore, experiment: Experiment) -> Experiment:
    return await asyncio.to_thread(with_progress, store, experiment)
