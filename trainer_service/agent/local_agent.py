"""An agent: claims runs of a store and executes them on this machine, each by a worker process.

A trainer service has one in its own process. ``mentorgrad serve worker`` is one without a service:
it listens on nothing, and reaches the store and the mentors.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry

import mentorgrad
from mentorgrad.domain.agent import Agent
from run_store.protocols import RunStore
from trainer_service.agent.devices import FoundDevices, do_answer, find_devices
from trainer_service.agent.heartbeat import AgentHeartbeat
from trainer_service.agent.jobs import job_maker
from trainer_service.agent.local_executor import LocalExecutor
from trainer_service.agent.metrics import TrainerMetrics
from trainer_service.agent.scheduler import Scheduler
from trainer_service.agent.settings import ExecutionSettings
from trainer_service.agent.suitability import DigestOf, Suitability

Ended = Callable[[str, Sequence[str], int], None]
"""Called with run id, devices and exit code when a worker has ended."""


@dataclass(frozen=True)
class Role:
    """What an agent is for."""

    service: str
    """``trainer`` or ``worker``."""
    per_device: int
    """Maximum number of concurrent runs per device; 0: it executes none."""
    most_runs: int | None = None
    """Number of runs after which it takes no further one; None: no limit."""
    digest_of: DigestOf | None = None
    """Checks the data and models of a run before it is claimed; None: they are not checked."""


class LocalAgent:
    """Executes runs. All methods are called on one event loop.

    Args:
        settings: What executes runs, and how.
        role: What it is for.
        store: The run store; not closed by this class.
        registry: Registry of the metrics; at most one agent per registry.
        ended: Called when a worker has ended.

    Raises:
        InvalidInput: There is no such device.
    """

    def __init__(
        self,
        settings: ExecutionSettings,
        role: Role,
        store: RunStore,
        registry: CollectorRegistry,
        ended: Ended = lambda *_: None,
    ) -> None:
        found = find_devices(settings.device) if role.per_device else FoundDevices()
        self.devices = found.names
        self._has = Agent(
            name=settings.name,
            service=role.service,
            host=socket.gethostname(),
            version=mentorgrad.__version__,
            devices=found.names,
            slots=role.per_device * len(found.names),
            labels=settings.label,
            mentors=tuple(settings.mentor),
            started_at=datetime.now(UTC),
            memory_mib=found.memory_mib,
        )
        self._is_draining = False
        metrics = TrainerMetrics(registry, self.devices)
        self._executor = LocalExecutor(
            job_maker(settings),
            threads=settings.threads,
            warm=settings.warm and role.per_device > 0,
            runs_each=settings.runs_per_worker,
            reported=metrics.take,
        )

        def both(run_id: str, devices: Sequence[str], code: int) -> None:
            metrics.ended(run_id, devices, code)
            ended(run_id, devices, code)

        self._suitability = Suitability(self._has, role.digest_of)
        self.scheduler = Scheduler(
            store,
            self._executor,
            self.devices,
            per_device=role.per_device,
            max_restarts=settings.max_restarts,
            owner_limit=settings.owner_running_limit,
            most_runs=role.most_runs,
            suitability=self._suitability,
            holder=settings.name,
            have_devices=do_answer,
            ended=both,
        )
        self._heartbeat = AgentHeartbeat(store, self.record, self.scheduler)
        metrics.watch_slots(lambda: len(self.scheduler.workers), self.scheduler.slots)

    def record(self) -> Agent:
        """What it reports to the store."""
        return replace(
            self._has,
            run_ids=tuple(self.scheduler.workers),
            refused=self._suitability.refused,
            is_draining=self._is_draining or self.scheduler.is_leaving,
        )

    def wake(self) -> None:
        """Makes it look at once at the queue, and at what is wanted of its runs."""
        self.scheduler.wake()
        self._heartbeat.wake()

    async def start(self) -> None:
        """Reports to the store, and starts the standby worker and the scheduler.

        Raises:
            Conflict: Another agent has the name.
            Unavailable: The store does not answer, or no process can be started.
        """
        await self._heartbeat.start()
        await self._executor.prepare()
        self.scheduler.start()

    async def close(self, grace: float) -> None:
        """Interrupts the workers, which save checkpoints; those that take longer than `grace`
        seconds are killed."""
        self._is_draining = True
        await self.scheduler.close(grace)
        await self._heartbeat.close()
