"""Creates runs: validates the whole spec and queues the run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from mentorgrad.domain.agent import Agent, no_agent_for, unmet
from mentorgrad.domain.event import Created
from mentorgrad.domain.run import Run
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput
from mentorgrad.responses import CreatedRun
from mentorgrad.wire import tracing
from run_store.protocols import RunStore
from trainer_service.control_plane.admission import Admission
from trainer_service.control_plane.data_check import DataCheck
from trainer_service.control_plane.mentor_registry import MentorRegistry
from trainer_service.control_plane.spec_rules import proposed_to, spec_violations, versions

CHECKS_AT_ONCE = 2
"""Maximum number of specs validated at once."""


class RunCreation:
    """Creates runs, at the request of clients and for experiments.

    Args:
        mentors: The mentors known by name.
        check_data: Validates what a spec refers to (task, files, models); may be slow, and is
            called in a thread.
        wake: Wakes the scheduler after a run was queued.
        queue_limit: Maximum number of waiting runs.
        own: What the service's own agent has: of a run that it can execute, no warning is needed.
    """

    def __init__(
        self,
        mentors: MentorRegistry,
        check_data: DataCheck,
        wake: Callable[[], None],
        queue_limit: int,
        own: Agent,
    ) -> None:
        self._mentors = mentors
        self._check_data = check_data
        self._wake = wake
        self._queue_limit = queue_limit
        self._own = own
        self._admission = Admission("runs", CHECKS_AT_ONCE)

    def drain(self) -> None:
        """Rejects new runs from now on; known ones are still returned."""
        self._admission.drain()

    async def create(self, store: RunStore, spec: RunSpec, request_id: str) -> CreatedRun:
        """Queues a run, or returns the one with this request_id without validating it again.

        Args:
            store: The run store, as the caller sees it.
            spec: The run's spec.
            request_id: Idempotency key; empty: none.

        Raises:
            InvalidInput: The spec or the request_id is invalid.
            AlreadyExists: The request_id belongs to a run with another spec.
            PreconditionFailed: The mentor is required and does not answer.
            ResourceExhausted: The queue is full.
            Unavailable: The service is about to stop.
        """
        if request_id:
            known = await asyncio.to_thread(store.find_request, request_id, spec)
            if known is not None:
                return CreatedRun(known)
        warnings: list[str] = []
        check_data = partial(self._check_data, store=store, warn=warnings.append)
        check = partial(_check, spec, check_data)
        digest = await self._admission.check(check)
        warnings += await self._mentors.check(spec.mentor, proposed=proposed_to(spec))
        run, is_new = await asyncio.to_thread(self._queue, store, spec, request_id, digest)
        self._wake()
        if any(unmet(spec, self._own)):
            agents = await asyncio.to_thread(store.list_workers)
            warnings += filter(None, [no_agent_for(spec, agents)])
        return CreatedRun(run, is_new, tuple(warnings))

    def submit(
        self, store: RunStore, experiment_id: str, spec: RunSpec, request_id: str
    ) -> tuple[Run, bool]:
        """Queues a run of an experiment, whose runs were all validated before, or finds the one
        with this request_id; returns it and whether it is new. Blocking; called in threads.

        Args:
            store: The run store, as the experiment's owner sees it.
            experiment_id: The experiment.
            spec: The run's spec.
            request_id: Identifies the run within the experiment.

        Raises:
            InvalidInput: Data or a model that the spec refers to is missing or unsuitable.
            AlreadyExists: The request_id belongs to a run with another spec.
            ResourceExhausted: The queue is full.
        """
        known = store.find_request(request_id, spec, experiment_id=experiment_id)
        if known is not None:
            return known, False
        digest = self._check_data(spec, store=store)
        return self._queue(store, spec, request_id, digest, experiment_id)

    def _queue(
        self, store: RunStore, spec: RunSpec, request_id: str, digest: str, experiment_id: str = ""
    ) -> tuple[Run, bool]:
        created = Created(spec, request_id, versions(), digest, tracing.current().parent)
        limit = self._queue_limit
        return store.create(created, max_queued=limit, experiment_id=experiment_id)


def _check(spec: RunSpec, check_data: Callable[[RunSpec], str]) -> str:
    """Raises `InvalidInput` with all violations of a spec; returns the digest of its data."""
    found, reason, digest = list(spec_violations(spec)), None, ""
    try:
        digest = check_data(spec)
    except InvalidInput as error:
        if not error.violations:  # an error that belongs to no single field
            raise
        found, reason = [*error.violations, *found], error.reason
    if found:
        raise InvalidInput(violations=found, reason=reason)
    return digest
