"""A scheduler whose workers do as a test says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from mentorgrad.domain.event import Created, StateChanged
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import DesiredState, RunState
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import Unavailable
from run_store.protocols import Lease
from run_store.temporary_store import TemporaryRunStore
from trainer_service.agent.scheduler import Scheduler
from trainer_service.job import EXIT_OK


class Worker:
    """A worker that does as the test says."""

    def __init__(self, store: TemporaryRunStore, lease: Lease, devices: tuple[str, ...]) -> None:
        self.run_id = lease.run_id
        self.attempt = lease.attempt
        self.devices = devices
        self.has_begun = False
        self.terminated = False
        self.hangs = False
        self.told: list[DesiredState] = []
        self._store = store
        self._end: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def begin(self) -> None:
        self.has_begun = True

    def end(self, code: int, state: RunState | None = None) -> None:
        if state is not None:
            self._store.transition(self.run_id, state, attempt=self.attempt)
        self._end.set_result(code)

    def lose(self, error: Exception) -> None:
        self._end.set_exception(error)

    async def wait(self) -> int:
        return await asyncio.shield(self._end)

    def alive(self) -> bool:
        return not self._end.done()

    def is_silent(self) -> bool:
        return self.hangs

    def tell(self, desired: DesiredState) -> None:
        self.told.append(desired)

    def terminate(self) -> None:
        self.terminated = True
        if self.alive():
            if self.has_begun:
                self._store.transition(self.run_id, RunState.INTERRUPTED, "saved")
            self._end.set_result(EXIT_OK)

    def kill(self) -> None:
        if self.alive():
            self._end.set_result(-9)


class FakeExecutor:
    def __init__(self, store: TemporaryRunStore) -> None:
        self.store = store
        self.started: list[Worker] = []
        self.failures = 0
        self.closed = False

    async def start(self, lease: Lease, devices: Sequence[str]) -> Worker:
        if self.failures:
            self.failures -= 1
            raise Unavailable("no process can be started")
        self.started.append(Worker(self.store, lease, tuple(devices)))
        return self.started[-1]

    async def close(self) -> None:
        self.closed = True


class Rig:
    def __init__(self) -> None:
        self.store = TemporaryRunStore()
        self.executor = FakeExecutor(self.store)

    def create(self, devices: int = 1) -> str:
        spec = RunSpec(objective=Function(), devices=devices)
        return self.store.create(Created(spec=spec))[0].run_id

    def state(self, run_id: str) -> RunState:
        return self.store.get_run(run_id).state

    def interruptions(self, run_id: str) -> list[str]:
        """The reasons why a run was interrupted."""
        changes = [event.payload for event in self.store.events(run_id)]
        return [
            change.reason
            for change in changes
            if isinstance(change, StateChanged) and change.state is RunState.INTERRUPTED
        ]

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(1000):
            if condition():
                return
            await asyncio.sleep(0.005)
        raise AssertionError("it never came to be")

    async def worker(self, number: int) -> Worker:
        await self.until(lambda: len(self.executor.started) >= number)
        return self.executor.started[number - 1]

    @contextlib.asynccontextmanager
    async def scheduling(
        self,
        *devices: str,
        per_device: int = 1,
        max_restarts: int = 2,
        most_runs: int | None = None,
        grace: float = 10.0,
        have_devices: Callable[[Sequence[str]], bool] = lambda _: True,
    ) -> AsyncIterator[Scheduler]:
        made = Scheduler(
            self.store,
            self.executor,
            devices or ("cpu",),
            per_device=per_device,
            max_restarts=max_restarts,
            most_runs=most_runs,
            have_devices=have_devices,
        )
        made.start()
        yield made
        await made.close(grace)
