"""The scheduler: claims queued runs, starts workers for them, and marks runs of dead workers as
interrupted. The agent's heartbeat renews its leases.

The queue is in the store: QUEUED and INTERRUPTED runs. Owners take turns, and each owner's oldest
run is first. So a restarted agent continues with the same queue, and several agents share a store:
who has claimed a run executes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence

import structlog

from mentorgrad.domain.agent import Agent
from mentorgrad.domain.run import DesiredState, Run
from mentorgrad.errors import MentorgradError
from run_store.protocols import Lease, RunStore
from trainer_service.agent.executor import Executor, WorkerHandle
from trainer_service.agent.interruptions import DIED, Interruptions
from trainer_service.agent.suitability import Suitability
from trainer_service.agent.waiting_runs import WaitingRuns
from trainer_service.job import (
    EXIT_BAD_JOB,
    EXIT_DEVICE,
    EXIT_FAILED,
    EXIT_NOT_MINE,
    EXIT_OK,
    EXIT_STORE,
)
from trainer_service.running.stop_control import DEVICE_LOST, LEASE

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
"""Interval at which the store is polled if nothing wakes the scheduler, on average; twice as long
when there has been no run for a while. It varies, so that many agents do not poll at once."""
_IDLE_SECONDS = 30.0
"""Time without a run after which the store is polled less often."""
_LATE_SECONDS = 0.25
"""Maximum time to the next look if other agents have claimed all runs of the last one."""
RETRY_SECONDS = 10.0
"""Time without new runs after a worker that could not be started, or did not reach the store: the
log of each run gets an entry for every such attempt."""
_DECIDED = (EXIT_OK, EXIT_FAILED, EXIT_BAD_JOB, EXIT_NOT_MINE, EXIT_STORE)
"""Exit codes of workers that had no trouble with their devices."""


class Scheduler:
    """Claims runs, starts workers and handles their exit. Runs on one event loop; calls of the
    store run in threads.

    Args:
        store: The run store.
        executor: Starts workers.
        devices: Devices that runs are executed on.
        per_device: Concurrent workers per device.
        max_restarts: How often a run whose worker died is resumed automatically.
        owner_limit: Maximum running runs of one owner; None: no limit.
        most_runs: Number of runs that are executed, after which no further one is claimed; None:
            no limit.
        suitability: Says which runs cannot be executed here; None: those with too many devices.
        holder: Who holds the leases, for the log.
        have_devices: Whether devices still answer. Called in threads after a worker's death.
        ended: Called with run id, devices and exit code when a worker has ended.
    """

    def __init__(
        self,
        store: RunStore,
        executor: Executor,
        devices: Sequence[str],
        *,
        per_device: int,
        max_restarts: int,
        owner_limit: int | None = None,
        most_runs: int | None = None,
        suitability: Suitability | None = None,
        holder: str = "",
        have_devices: Callable[[Sequence[str]], bool] = lambda _: True,
        ended: Callable[[str, Sequence[str], int], None] = lambda *_: None,
    ) -> None:
        self._store = store
        self._executor = executor
        # In this order, the first free slot is one of the devices with the fewest runs.
        self._slots = [device for _ in range(per_device) for device in devices]
        self._owner_limit = owner_limit
        self._left = most_runs
        self._waiting = WaitingRuns(
            store,
            suitability or Suitability(Agent(devices=tuple(devices), slots=len(self._slots))),
            owner_limit,
            may_skip=len(_for_one_run(self._slots)) == 1,
        )
        self._interruptions = Interruptions(store, max_restarts)
        self._holder = holder
        self._have_devices = have_devices
        self._lost: frozenset[str] = frozenset()
        self._idle_since: float | None = None
        self._ended = ended
        self._workers: dict[str, WorkerHandle] = {}
        self._minders: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._closing = self._is_late = self._is_away = False
        # Held from a claim to the start of its worker, which the end of the agent waits for.
        self._claiming = asyncio.Lock()
        self._paused_until = 0.0
        self._loop: asyncio.Task[None] | None = None

    @property
    def slots(self) -> int:
        """Runs that may execute at once."""
        return len(self._slots)

    @property
    def workers(self) -> dict[str, WorkerHandle]:
        """Workers by run id."""
        return dict(self._workers)

    @property
    def is_done(self) -> bool:
        """Whether all runs that may be claimed have ended."""
        return self._left == 0 and not self._workers

    @property
    def is_leaving(self) -> bool:
        """Whether it claims no further runs."""
        return self._left == 0

    @property
    def idle_seconds(self) -> float:
        """Time since there was no run to execute when it looked. Until it has looked, after a run
        too, it is not idle."""
        return 0.0 if self._idle_since is None else time.monotonic() - self._idle_since

    @property
    def lost_devices(self) -> frozenset[str]:
        """Devices that do not answer any more. With one of them, it claims no further runs."""
        return self._lost

    def start(self) -> None:
        """Starts the scheduling loop."""
        self._loop = asyncio.create_task(self._run())

    def wake(self) -> None:
        """Makes the scheduler look at the queue at once: a run was queued."""
        self._waiting.forget()
        self._wake.set()

    async def close(self, grace: float) -> None:
        """Stops scheduling and interrupts the workers, which save checkpoints. Workers that take
        longer than `grace` seconds are killed."""
        self._closing = True
        if self._loop is not None:
            async with self._claiming:
                self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop
        for worker in self._workers.values():
            worker.terminate()
        if self._minders:
            _, late = await asyncio.wait(self._minders, timeout=grace)
            for worker in self._workers.values():
                worker.kill()
            if late:
                await asyncio.wait(late)
        await self._executor.close()

    # -- scheduling ---------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._fill()
                self._is_away = False
            except MentorgradError as error:
                if not self._is_away:
                    log.warning("scheduler_retry", error=error.message)
                self._is_away = True
            except Exception as error:  # a bug must not end scheduling silently
                log.error("scheduler_failed", exc_info=error)
            looks_again = self._is_late or self._wake.is_set()
            if self._idle_since is None and not self._workers and not looks_again:
                self._idle_since = time.monotonic()
            # Not `wait_for`: it loses a cancellation that arrives together with a wake-up.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._wake.wait()

    def _pause(self) -> float:
        if self._is_late:
            self._is_late = False
            return _LATE_SECONDS * random.random()
        rarely = 2.0 if self.idle_seconds > _IDLE_SECONDS else 1.0
        return POLL_SECONDS * rarely * random.uniform(0.75, 1.25)

    async def _fill(self) -> None:
        """Claims waiting runs and starts their workers while there are free slots."""
        free = list(self._slots)
        for worker in self._workers.values():
            for device in worker.devices:
                free.remove(device)
        if not free or self._left == 0 or time.monotonic() < self._paused_until:
            return
        are_known = self._waiting.are_known
        left = await self._waiting.suitable(len(free), self._workers)
        in_vain = await self._claim(left, free)
        if are_known and free and self._left != 0:
            self.wake()  # others may wait by now
        elif in_vain:
            self._waiting.were_taken()
            self._is_late = True

    async def _claim(self, left: list[Run], free: list[str]) -> bool:
        """Claims runs and starts their workers while there are free slots, which it takes away.

        Returns:
            Whether other agents have those that fit; more may wait behind.
        """
        while self._left != 0 and (among := _that_fit(left, free)):
            async with self._claiming:
                if self._closing:
                    return False
                lease = await asyncio.to_thread(
                    self._store.claim_next, list(among), self._holder, LEASE, self._owner_limit
                )
                if lease is None:
                    return True
                self._waiting.taken(lease.run_id)
                devices = _for_one_run(free)[: among[lease.run_id].spec.devices]
                await self._start(lease, devices)
            for device in devices:
                free.remove(device)
            left = [run for run in left if run.run_id != lease.run_id]
        return False

    async def _start(self, lease: Lease, devices: Sequence[str]) -> None:
        """Starts the worker of a claimed run."""
        try:
            worker = await self._executor.start(lease, devices)
        except MentorgradError as error:  # not the run's fault
            self._paused_until = time.monotonic() + RETRY_SECONDS
            await self._interruptions.mark(lease.run_id, lease.attempt, error.message)
            raise
        if self._left:
            self._left -= 1
        log.info("worker_started", run_id=lease.run_id, device=",".join(devices))
        self._workers[lease.run_id] = worker
        self._idle_since = None
        minder = asyncio.create_task(self._mind(worker))
        self._minders.add(minder)
        minder.add_done_callback(self._minders.discard)

    # -- for the heartbeat: `HeldRuns` -------------------------------------------------------

    @property
    def held(self) -> dict[str, int]:
        """See `HeldRuns.held`. The run of a worker that hangs is left to others."""
        return {
            run_id: worker.attempt
            for run_id, worker in self._workers.items()
            if worker.alive() and not worker.is_silent()
        }

    def tell(self, wishes: Mapping[str, DesiredState]) -> None:
        """See `HeldRuns.tell`."""
        for run_id, desired in wishes.items():
            if (worker := self._workers.get(run_id)) is not None:
                worker.tell(desired)

    def leave_off(self) -> None:
        """See `HeldRuns.leave_off`."""
        self._left = 0

    async def bury(self) -> None:
        """See `HeldRuns.bury`. Two agents may do so at once: the attempt decides."""
        for run in await asyncio.to_thread(self._store.expired, LEASE):
            if run.run_id not in self._workers:
                reason = f"{DIED}: its lease expired"
                await self._interruptions.mark(run.run_id, run.attempt, reason)
                self.wake()

    # -- ended workers ------------------------------------------------------------------------

    async def _mind(self, worker: WorkerHandle) -> None:
        """Waits until a worker has ended, then updates its run, retrying while the store is
        unavailable."""
        try:
            code = await worker.wait()
            log.info("worker_ended", run_id=worker.run_id, code=code)
            self._ended(worker.run_id, worker.devices, code)
            while not await self._settled(worker, code):
                await asyncio.sleep(POLL_SECONDS)
        except Exception as error:  # the lease will expire, which marks the run as interrupted
            log.error("scheduler_failed", run_id=worker.run_id, exc_info=error)
        finally:
            del self._workers[worker.run_id]
            self._wake.set()

    async def _settled(self, worker: WorkerHandle, code: int) -> bool:
        """Updates the run of an ended worker; returns False if this should be retried."""
        try:
            await self._after(worker, code)
        except MentorgradError as error:
            log.warning("scheduler_retry", run_id=worker.run_id, error=error.message)
            return not error.retryable or self._closing
        return True

    async def _after(self, worker: WorkerHandle, code: int) -> None:
        if code == EXIT_OK and worker.has_begun:
            return  # the log says how the run ended; if it did not, its lease would expire
        how = f"{DIED}: {_how(code)}"
        if self._closing:
            how = "the service shut down"
        elif code == EXIT_STORE and not worker.has_begun:  # not the run's fault
            how = "the worker did not reach the run store"
            self._paused_until = time.monotonic() + RETRY_SECONDS
        elif await self._has_lost_devices(worker, code):  # nor this
            how = DEVICE_LOST
        await self._interruptions.mark(worker.run_id, worker.attempt, how)

    async def _has_lost_devices(self, worker: WorkerHandle, code: int) -> bool:
        """Whether a worker has ended because of its devices. Every further run would end so, too:
        this agent takes none."""
        if code in _DECIDED:
            return False
        if code != EXIT_DEVICE and await asyncio.to_thread(self._have_devices, worker.devices):
            return False
        log.error("device_lost", devices=",".join(worker.devices), meaning="no further runs")
        self._lost |= {*worker.devices}
        self.leave_off()
        return True


def _for_one_run(slots: Sequence[str]) -> list[str]:
    """The slots that one run may have at once: of different GPUs, or all of the CPU."""
    return [slot for at, slot in enumerate(slots) if slot == "cpu" or slot not in slots[:at]]


def _that_fit(waiting: Sequence[Run], free: Sequence[str]) -> dict[str, Run]:
    """The first runs that fit the free slots, by id. If there are too few for a run, those behind
    it wait too: it might never get them otherwise."""
    room = len(_for_one_run(free))
    return {
        run.run_id: run
        for run in itertools.takewhile(lambda run: 0 < run.spec.devices <= room, waiting)
    }


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
