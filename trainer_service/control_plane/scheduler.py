"""Gives queued runs to workers and takes care of what they leave behind.

The queue is the store's: QUEUED and INTERRUPTED runs, oldest first. So a service that is started
again goes on where the last one stopped, and several services may share a store: the claim decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence

import structlog

from mentorgrad.domain.event import EventKind, StateChanged
from mentorgrad.domain.query import EventQuery, RunFilter, RunOrder
from mentorgrad.domain.run import DesiredState, Run, RunState
from mentorgrad.errors import Conflict, MentorgradError, NotFound, PreconditionFailed
from run_store.protocols import RunStore
from trainer_service.executors.base import Executor, WorkerHandle
from trainer_service.job import EXIT_NOT_MINE, EXIT_STORE

log = structlog.get_logger(__name__)

DIED = "the worker died"
"""How the reason of an INTERRUPTED run begins whose worker ended without recording it."""
POLL_SECONDS = 1.0
"""How often the store is looked at when nothing wakes the scheduler."""
SPARE_SECONDS = 5.0
"""How long nobody's lease counts as run out after the store could not be read."""


class Scheduler:
    """Runs on the service's event loop; the store is called in threads.

    Args:
        store: The truth.
        executor: Starts workers.
        devices: What runs are executed on.
        per_device: Workers at once on each.
        max_restarts: How often a run whose worker died is resumed by itself.
        ended: Told of a worker's run, device and exit code.
    """

    def __init__(
        self,
        store: RunStore,
        executor: Executor,
        devices: Sequence[str],
        *,
        per_device: int,
        max_restarts: int,
        ended: Callable[[str, str, int], None] = lambda *_: None,
    ) -> None:
        self._store = store
        self._executor = executor
        self._slots = [device for device in devices for _ in range(per_device)]
        self._max_restarts = max_restarts
        self._ended = ended
        self._workers: dict[str, WorkerHandle] = {}
        self._minders: set[asyncio.Task[None]] = set()
        self._false_starts: Counter[str] = Counter()
        self._wake = asyncio.Event()
        self._closing = False
        self._spared_until = 0.0
        self._loop: asyncio.Task[None] | None = None

    @property
    def slots(self) -> int:
        """Runs that may execute at once."""
        return len(self._slots)

    @property
    def workers(self) -> dict[str, WorkerHandle]:
        """Workers by run id."""
        return dict(self._workers)

    def start(self) -> None:
        """Begins to give out runs."""
        self._loop = asyncio.create_task(self._run())

    def wake(self) -> None:
        """Something was queued or freed; look at once."""
        self._wake.set()

    async def close(self, grace: float) -> None:
        """Interrupts the workers, which save checkpoints; whoever takes longer than the grace, in
        seconds, is killed."""
        self._closing = True
        if self._loop is not None:
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

    # -- giving out ---------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._mark_expired_interrupted()
                await self._fill()
            except MentorgradError as error:
                log.warning("scheduler_retry", error=error.message)
            except Exception as error:  # a defect must not end the giving out of runs in silence
                log.error("scheduler_failed", exc_info=error)
            # Not `wait_for`, which loses a cancel that comes together with a wake.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()

    async def _fill(self) -> None:
        """Starts a worker for each waiting run while there are free slots."""
        free = list(self._slots)
        for worker in self._workers.values():
            free.remove(worker.device)
        if not free:
            return
        waiting = RunFilter(states=(RunState.QUEUED, RunState.INTERRUPTED))
        size = len(free) + len(self._workers)
        page = await asyncio.to_thread(self._store.list_runs, waiting, RunOrder.OLDEST, size)
        for run in page.runs:
            if free and run.run_id not in self._workers:
                await self._start(run, free.pop(0))

    async def _start(self, run: Run, device: str) -> None:
        worker = await self._executor.start(run.run_id, device)
        log.info("worker_started", run_id=run.run_id, device=device)
        self._workers[run.run_id] = worker
        minder = asyncio.create_task(self._mind(worker))
        self._minders.add(minder)
        minder.add_done_callback(self._minders.discard)

    async def _mark_expired_interrupted(self) -> None:
        """Runs that are RUNNING and whose worker has been silent too long.

        While the store was away nobody could prolong a lease, so when it is back whoever lives gets
        time to.
        """
        try:
            expired = await asyncio.to_thread(self._store.expired)
        except MentorgradError:
            self._spared_until = time.monotonic() + SPARE_SECONDS
            raise
        for run in expired if time.monotonic() >= self._spared_until else ():
            if run.run_id not in self._workers:
                await self._mark_interrupted(run.run_id, run.attempt, f"{DIED}: its lease ran out")

    # -- minding ------------------------------------------------------------------------------

    async def _mind(self, worker: WorkerHandle) -> None:
        """Waits for a worker's end and sees to its run; a store that is away is waited for."""
        try:
            code = await worker.wait()
            log.info("worker_ended", run_id=worker.run_id, code=code)
            self._ended(worker.run_id, worker.device, code)
            while not await self._settled(worker, code):
                await asyncio.sleep(POLL_SECONDS)
        except Exception as error:  # the run's lease will run out, which buries it
            log.error("scheduler_failed", run_id=worker.run_id, exc_info=error)
        finally:
            del self._workers[worker.run_id]
            self.wake()

    async def _settled(self, worker: WorkerHandle, code: int) -> bool:
        """Sees to an ended worker's run; whether that is done with or not to be tried again."""
        try:
            await self._after(worker, code)
        except MentorgradError as error:
            log.warning("scheduler_retry", run_id=worker.run_id, error=error.message)
            return not error.retryable or self._closing
        return True

    async def _after(self, worker: WorkerHandle, code: int) -> None:
        how = f"{DIED}: {_how(code)}"
        if self._closing:
            how = "the service shut down"
        if worker.attempt is not None:
            self._false_starts.pop(worker.run_id, None)
            await self._mark_interrupted(worker.run_id, worker.attempt, how)
        elif code == EXIT_STORE and not self._closing:
            # Not the run's fault: it stays queued, and the slot rests before it is tried again.
            log.warning("worker_without_store", run_id=worker.run_id)
            await asyncio.sleep(POLL_SECONDS)
        elif code != EXIT_NOT_MINE and not self._closing:
            await self._false_start(worker.run_id, how)

    async def _mark_interrupted(self, run_id: str, attempt: int, reason: str) -> None:
        """If the run is still this attempt's: INTERRUPTED, and on from there.

        Whoever asked for a cancel or a pause meanwhile gets it; a run whose workers died too often
        fails.
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
                why = f"gave up after {deaths} dead workers; the last one: {reason}"
                await self._transition(run_id, RunState.FAILED, why, attempt)
        except (Conflict, NotFound, PreconditionFailed) as error:
            log.info("run_moved_on", run_id=run_id, error=error.message)

    async def _false_start(self, run_id: str, reason: str) -> None:
        """A worker that ended before it claimed its run; the run fails when that repeats."""
        self._false_starts[run_id] += 1
        log.warning("worker_not_started", run_id=run_id, reason=reason)
        if self._false_starts[run_id] > self._max_restarts:
            del self._false_starts[run_id]
            with contextlib.suppress(Conflict, NotFound, PreconditionFailed):
                await self._transition(run_id, RunState.FAILED, f"no worker starts: {reason}")

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


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
