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
from functools import partial

import structlog

from mentorgrad.domain.agent import Agent
from mentorgrad.domain.event import EventKind, StateChanged
from mentorgrad.domain.query import EventQuery
from mentorgrad.domain.run import DesiredState, Run, RunState
from mentorgrad.errors import Conflict, MentorgradError, NotFound, PreconditionFailed
from run_store.protocols import Lease, RunStore
from trainer_service.agent.executor import Executor, WorkerHandle
from trainer_service.agent.suitability import Suitability
from trainer_service.job import EXIT_OK, EXIT_STORE
from trainer_service.running.stop_control import LEASE

log = structlog.get_logger(__name__)

DIED = "the worker died"
"""Prefix of the reason of an INTERRUPTED run whose worker ended without recording the end."""
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
_SPARE_RUNS = 16
"""Further runs that are read, in case that other agents claim the first ones. Whether they can be
executed is decided for those that may be claimed, and for more if others were quicker."""


_MOST_SKIPPED = 256
"""Maximum number of first runs that are left to others, in that case."""


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
        ended: Callable[[str, Sequence[str], int], None] = lambda *_: None,
    ) -> None:
        self._store = store
        self._executor = executor
        # In this order, the first free slot is one of the devices with the fewest runs.
        self._slots = [device for _ in range(per_device) for device in devices]
        self._max_restarts = max_restarts
        self._owner_limit = owner_limit
        self._left = most_runs
        self._suitability = suitability or Suitability(
            Agent(devices=tuple(devices), slots=len(self._slots))
        )
        self._holder = holder
        self._idle_since = time.monotonic()
        self._ended = ended
        self._workers: dict[str, WorkerHandle] = {}
        self._minders: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._closing = self._is_late = False
        self._spare = self._most_skipped = self._skipped = 0
        self._seen: tuple[Run, ...] = ()
        self._seen_until = 0.0
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
        """Time in which there has been no run to execute."""
        return 0.0 if self._workers else time.monotonic() - self._idle_since

    def start(self) -> None:
        """Starts the scheduling loop."""
        self._loop = asyncio.create_task(self._run())

    def wake(self) -> None:
        """Makes the scheduler look at the queue at once: a run was queued."""
        self._seen = ()
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
            except MentorgradError as error:
                log.warning("scheduler_retry", error=error.message)
            except Exception as error:  # a bug must not end scheduling silently
                log.error("scheduler_failed", exc_info=error)
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
        passed_over = len(self._workers) + len(self._suitability.refused)
        size = len(free) + passed_over + _SPARE_RUNS
        is_recent = bool(self._seen) and time.monotonic() < self._seen_until
        if not is_recent:
            await self._look(size)
        left = await self._suitable(len(free) + self._spare)
        in_vain = await self._claim(left, free)
        if is_recent and free and self._left != 0:
            self.wake()  # others may wait by now
        elif in_vain:
            self._learn(in_vain=True)

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
                self._learn(in_vain=False)
                devices = _for_one_run(free)[: among[lease.run_id].spec.devices]
                await self._start(lease, devices)
            for device in devices:
                free.remove(device)
            left = [run for run in left if run.run_id != lease.run_id]
            self._seen = tuple(run for run in self._seen if run.run_id != lease.run_id)
        return False

    async def _look(self, size: int) -> None:
        """Reads the runs that are next, or some behind these. As long as no other agent is quicker,
        the runs that were read are taken one by one, for as long as it would wait to look again."""
        while True:
            self._skipped = random.randint(0, self._most_skipped)
            self._seen = await asyncio.to_thread(
                self._store.next_runs, size, self._owner_limit, self._skipped
            )
            if self._seen or not self._skipped:
                break
            self._most_skipped = self._skipped // 2
        is_contended = self._spare or self._most_skipped
        self._seen_until = 0.0 if is_contended else time.monotonic() + POLL_SECONDS

    async def _suitable(self, wanted: int) -> list[Run]:
        """Those of the runs read last that can be executed here."""
        waiting = [run for run in self._seen if run.run_id not in self._workers]
        decide = partial(self._suitability.of, are_first=not self._skipped)
        return await asyncio.to_thread(decide, waiting, self._store, wanted)

    def _learn(self, *, in_vain: bool) -> None:
        """Has the next looks spread over more runs if others were quicker, and over fewer if not.

        A run that needs several devices might never get them if those behind it did not wait
        (`_that_fit`). So only an agent for which there is no such run passes over the first ones.
        """
        if in_vain:
            self._is_late = True
            self._spare = min(2 * self._spare + 1, _SPARE_RUNS)
            if len(_for_one_run(self._slots)) == 1:
                self._most_skipped = min(4 * self._most_skipped + _SPARE_RUNS, _MOST_SKIPPED)
        else:
            self._spare //= 2
            self._most_skipped //= 2

    async def _start(self, lease: Lease, devices: Sequence[str]) -> None:
        """Starts the worker of a claimed run."""
        try:
            worker = await self._executor.start(lease, devices)
        except MentorgradError as error:  # not the run's fault
            self._paused_until = time.monotonic() + RETRY_SECONDS
            await self._mark_interrupted(lease.run_id, lease.attempt, error.message)
            raise
        if self._left:
            self._left -= 1
        log.info("worker_started", run_id=lease.run_id, device=",".join(devices))
        self._workers[lease.run_id] = worker
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
                await self._mark_interrupted(run.run_id, run.attempt, f"{DIED}: its lease expired")
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
            self._idle_since = time.monotonic()
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
        await self._mark_interrupted(worker.run_id, worker.attempt, how)

    async def _mark_interrupted(self, run_id: str, attempt: int, reason: str) -> None:
        """Marks the run as INTERRUPTED if this attempt still owns it.

        A pending cancel or pause request is then fulfilled. A run whose workers died more than
        `max_restarts` times fails.
        """
        try:
            run = await asyncio.to_thread(self._store.get_run, run_id)
            if run.state is not RunState.RUNNING or run.attempt != attempt:
                return
            desired = await asyncio.to_thread(self._store.desired, run_id)
            await self._transition(run_id, RunState.INTERRUPTED, reason, attempt)
            log.warning("run_interrupted", run_id=run_id, attempt=attempt, reason=reason)
            if desired is DesiredState.CANCEL:
                return  # the store has made it CANCELLED along with INTERRUPTED
            if desired is DesiredState.PAUSE:
                await self._transition(run_id, RunState.QUEUED, "", attempt)
                await self._transition(run_id, RunState.PAUSED, "paused on request", attempt)
            elif (deaths := await asyncio.to_thread(self._deaths, run_id)) > self._max_restarts:
                why = f"gave up after {deaths} worker deaths; the last: {reason}"
                await self._transition(run_id, RunState.FAILED, why, attempt)
        except (Conflict, NotFound, PreconditionFailed) as error:
            log.info("run_moved_on", run_id=run_id, error=error.message)

    async def _transition(
        self, run_id: str, state: RunState, reason: str, attempt: int | None = None
    ) -> None:
        await asyncio.to_thread(self._store.transition, run_id, state, reason, attempt=attempt)

    def _deaths(self, run_id: str) -> int:
        query = EventQuery(kinds=(EventKind.STATE_CHANGED,))
        return sum(
            isinstance(event.payload, StateChanged)
            and event.payload.state is RunState.INTERRUPTED
            and event.payload.reason.startswith(DIED)
            for event in self._store.events(run_id, query)
        )


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
