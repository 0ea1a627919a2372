"""Executes runs on threads of the tests' process, which shares its imports with them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from mentorgrad.domain.run import DesiredState
from run_store.open import open_store
from run_store.protocols import Lease
from trainer_service.agent.local_executor import MakeJob
from trainer_service.job import WorkerJob
from trainer_service.objectives.kept_results import KeptResults
from trainer_service.running.stop_control import StopKind, StopRequest
from trainer_service.worker import work


class ThreadHandle:
    """A run on a thread. Implements `WorkerHandle`, but a thread cannot be killed."""

    has_begun = True

    def __init__(self, job: WorkerJob, kept: KeptResults) -> None:
        self.run_id, self.attempt = job.run_id, job.attempt
        self.devices = (job.device,)
        self._stopper = StopRequest()
        self._working = asyncio.create_task(asyncio.to_thread(self._work, job, kept))

    def _work(self, job: WorkerJob, kept: KeptResults) -> int:
        store = open_store(job.store, migrate=False)
        try:
            return work(job, store, self._stopper, kept)
        finally:
            store.close()

    async def wait(self) -> int:
        return await asyncio.shield(self._working)

    def alive(self) -> bool:
        return not self._working.done()

    def is_silent(self) -> bool:
        return False

    def tell(self, desired: DesiredState) -> None:
        """It asks the store."""

    def terminate(self) -> None:
        self._stopper.note(StopKind.INTERRUPT)

    kill = terminate


class ThreadExecutor:
    """Stands in for `LocalExecutor`."""

    def __init__(self, make_job: MakeJob, **_: Any) -> None:
        self._make_job, self._kept = make_job, KeptResults()

    async def prepare(self) -> None:
        pass

    async def start(self, lease: Lease, devices: Sequence[str]) -> ThreadHandle:
        return ThreadHandle(self._make_job(lease, devices), self._kept)

    async def close(self) -> None:
        pass
