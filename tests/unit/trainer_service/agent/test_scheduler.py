from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from mentorgrad.domain.event import Created, StateChanged
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import DesiredState, RunState
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import Unavailable
from run_store.protocols import Lease
from run_store.temporary_store import TemporaryRunStore
from trainer_service.agent import scheduler as module
from trainer_service.agent import waiting_runs
from trainer_service.agent.interruptions import DIED
from trainer_service.agent.scheduler import Scheduler
from trainer_service.job import EXIT_DEVICE, EXIT_MEMBER_DIED, EXIT_OK, EXIT_STORE
from trainer_service.running.stop_control import DEVICE_LOST

LEASE = timedelta(seconds=60)


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


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_the_oldest_runs_get_the_slots_of_every_device(rig: Rig) -> None:
    runs = [rig.create() for _ in range(5)]
    async with rig.scheduling("cuda:0", "cuda:1", per_device=2) as scheduler:
        await rig.worker(4)
        assert [w.run_id for w in rig.executor.started] == runs[:4]
        assert [w.devices for w in rig.executor.started] == [("cuda:0",), ("cuda:1",)] * 2
        assert scheduler.slots == 4
        done = rig.executor.started[2]
        done.begin()
        done.end(EXIT_OK, RunState.SUCCEEDED)
        fifth = await rig.worker(5)
        assert (fifth.run_id, fifth.devices) == (runs[4], done.devices)


async def test_a_run_on_several_devices_has_different_ones_and_the_queue_waits_for_them(
    rig: Rig,
) -> None:
    first, both, last = rig.create(), rig.create(2), rig.create()
    async with rig.scheduling("cuda:0", "cuda:1") as scheduler:
        worker = await rig.worker(1)
        for _ in range(5):
            scheduler.wake()
            await asyncio.sleep(0.01)
        assert [w.run_id for w in rig.executor.started] == [first]
        worker.begin()
        worker.end(EXIT_OK, RunState.SUCCEEDED)
        second = await rig.worker(2)
        assert (second.run_id, second.devices) == (both, ("cuda:0", "cuda:1"))
        second.begin()
        second.end(EXIT_OK, RunState.SUCCEEDED)
        assert (await rig.worker(3)).run_id == last


async def test_slots_of_one_gpu_are_one_device_and_those_of_the_cpu_are_several(rig: Rig) -> None:
    """What one run may have of them; a run that needs more is left to other services."""
    rig.create(2)
    small = rig.create()
    async with rig.scheduling("cuda:0", per_device=2):
        assert (await rig.worker(1)).run_id == small
    async with rig.scheduling("cpu", per_device=2):
        assert (await rig.worker(2)).devices == ("cpu", "cpu")


async def test_a_dead_worker_leaves_an_interrupted_run_that_is_taken_up_again(rig: Rig) -> None:
    run_id = rig.create()
    async with rig.scheduling():
        first = await rig.worker(1)
        first.begin()
        first.end(-9)
        second = await rig.worker(2)
        assert (second.run_id, second.attempt) == (run_id, 2)
        assert rig.interruptions(run_id) == [f"{DIED}: killed by SIGKILL"]
        second.begin()
        second.end(EXIT_OK, RunState.SUCCEEDED)
        await rig.until(lambda: rig.state(run_id) is RunState.SUCCEEDED)


async def test_at_most_max_restarts(rig: Rig) -> None:
    run_id = rig.create()
    async with rig.scheduling(max_restarts=2):
        for number in (1, 2, 3):
            worker = await rig.worker(number)
            worker.begin()
            worker.end(139)
        await rig.until(lambda: rig.state(run_id) is RunState.FAILED)
        reason = rig.store.get_run(run_id).reason
        assert reason == f"gave up after 3 worker deaths; the last: {DIED}: exit code 139"
        assert len(rig.executor.started) == 3


async def test_workers_that_never_begin_fail_the_run_too(rig: Rig) -> None:
    run_id = rig.create()
    async with rig.scheduling(max_restarts=1):
        for number in (1, 2):
            (await rig.worker(number)).end(1)
        await rig.until(lambda: rig.state(run_id) is RunState.FAILED)
        reason = rig.store.get_run(run_id).reason
        assert reason == f"gave up after 2 worker deaths; the last: {DIED}: exit code 1"


async def test_a_run_that_another_agent_claims_first_is_left_to_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    contested, free = rig.create(), rig.create()
    waiting = rig.store.next_runs

    def too_late(*arguments: Any) -> Any:
        found = waiting(*arguments)
        if any(run.run_id == contested for run in found):
            rig.store.claim(contested, "another agent", LEASE)
        return found

    monkeypatch.setattr(rig.store, "next_runs", too_late)
    async with rig.scheduling():
        assert (await rig.worker(1)).run_id == free
        assert rig.store.get_run(contested).attempt == 1


async def test_the_runs_that_one_look_found_are_taken_one_by_one(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is time to look again, a run was queued here, or none of them waits any more."""
    looks: list[int] = []
    next_runs = rig.store.next_runs

    def noted(*arguments: Any) -> Any:
        looks.append(len(rig.executor.started))
        return next_runs(*arguments)

    monkeypatch.setattr(module, "POLL_SECONDS", 1e3)
    monkeypatch.setattr(waiting_runs, "KEPT_SECONDS", 1e3)
    monkeypatch.setattr(rig.store, "next_runs", noted)
    runs = [rig.create() for _ in range(4)]

    async def ended(number: int) -> None:
        worker = await rig.worker(number)
        worker.begin()
        worker.end(EXIT_OK, RunState.SUCCEEDED)

    async with rig.scheduling() as scheduler:
        await ended(1)
        await ended(2)
        await rig.worker(3)
        assert looks == [0]
        rig.store.claim(runs[3], "another agent", LEASE)
        runs[3] = rig.create()
        await ended(3)
        await rig.worker(4)
        assert looks == [0, 3]
        runs.append(rig.create())
        scheduler.wake()
        await ended(4)
        await rig.worker(5)
        assert [worker.run_id for worker in rig.executor.started] == runs


@pytest.mark.parametrize(("devices", "most"), [(("cuda:0",), 256), (("cuda:0", "cuda:1"), 0)])
async def test_agents_that_were_too_late_spread_over_more_runs(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, devices: tuple[str, ...], most: int
) -> None:
    """But for those that might have a run wait for several devices, which is then the first."""
    skipped: list[int] = []
    next_runs, claim_next = rig.store.next_runs, rig.store.claim_next

    def noted(count: int, limit: int | None, skip: int) -> Any:
        skipped.append(skip)
        return next_runs(count, limit, min(skip, 2))

    def too_late(*arguments: Any) -> Lease | None:
        return None if len(skipped) < 5 else claim_next(*arguments)

    monkeypatch.setattr(module, "_LATE_SECONDS", 0.0)
    monkeypatch.setattr(module.random, "randint", lambda _, most: most)
    monkeypatch.setattr(rig.store, "next_runs", noted)
    monkeypatch.setattr(rig.store, "claim_next", too_late)
    runs = [rig.create() for _ in range(4)]
    async with rig.scheduling(*devices):
        worker = await rig.worker(1)
        assert skipped[:5] == [min(skip, most) for skip in (0, 16, 80, 256, 256)]
        assert worker.run_id == runs[2 if most else 0]


async def test_an_agent_that_passed_over_all_runs_takes_one_of_them(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LATE_SECONDS", 0.0)
    monkeypatch.setattr(module.random, "randint", lambda _, most: most)
    claim_next, late = rig.store.claim_next, iter([True, True])
    monkeypatch.setattr(
        rig.store, "claim_next", lambda *given: None if next(late, False) else claim_next(*given)
    )
    run_id = rig.create()
    async with rig.scheduling():
        assert (await rig.worker(1)).run_id == run_id


async def test_runs_are_held_while_their_workers_live_and_do_not_hang(rig: Rig) -> None:
    first, second = rig.create(), rig.create()
    async with rig.scheduling("cuda:0", "cuda:1") as scheduler:
        worker, other = await rig.worker(1), await rig.worker(2)
        assert scheduler.held == {first: 1, second: 1}
        scheduler.tell({first: DesiredState.PAUSE, "another's": DesiredState.CANCEL})
        assert (worker.told, other.told) == ([DesiredState.PAUSE], [])
        other.hangs = True
        assert scheduler.held == {first: 1}
        worker.end(EXIT_OK, RunState.SUCCEEDED)
        assert scheduler.held == {}


async def test_an_agent_for_some_runs_takes_no_more(rig: Rig) -> None:
    runs = [rig.create() for _ in range(3)]
    async with rig.scheduling("cuda:0", "cuda:1", "cuda:2", most_runs=2) as scheduler:
        for number in (1, 2):
            assert not scheduler.is_done
            (await rig.worker(number)).end(EXIT_OK, RunState.SUCCEEDED)
        await rig.until(lambda: scheduler.is_done)
    assert rig.state(runs[2]) is RunState.QUEUED


async def test_without_runs_an_agent_is_idle(rig: Rig) -> None:
    async with rig.scheduling() as scheduler:
        await rig.until(lambda: scheduler.idle_seconds > 0)
        rig.create()
        worker = await rig.worker(1)
        assert scheduler.idle_seconds == 0
        worker.end(EXIT_OK, RunState.SUCCEEDED)
        await rig.until(lambda: scheduler.idle_seconds > 0)


async def test_an_agent_that_has_not_looked_is_not_idle(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However short the time is after which an idle agent ends, it executes what waits."""
    next_runs, may_look = rig.store.next_runs, threading.Event()

    def slow(*arguments: Any) -> Any:
        may_look.wait(120)
        return next_runs(*arguments)

    monkeypatch.setattr(rig.store, "next_runs", slow)
    runs = [rig.create(), rig.create()]
    async with rig.scheduling() as scheduler:
        await asyncio.sleep(0.01)
        assert scheduler.idle_seconds == 0
        may_look.set()
        worker = await rig.worker(1)
        may_look.clear()
        rig.store.claim(runs[1], "another agent", LEASE)
        worker.end(EXIT_OK, RunState.SUCCEEDED)
        await rig.until(lambda: not scheduler.workers)
        assert scheduler.idle_seconds == 0
        may_look.set()
        await rig.until(lambda: scheduler.idle_seconds > 0)


async def test_a_stale_worker_cannot_interrupt_its_successors_run(rig: Rig) -> None:
    run_id = rig.create()
    async with rig.scheduling() as scheduler:
        worker = await rig.worker(1)
        worker.begin()
        rig.store.transition(run_id, RunState.INTERRUPTED, "its lease ran out")
        rig.store.claim(run_id, "another service", LEASE)
        worker.end(-9)
        await rig.until(lambda: not scheduler.workers)
        assert rig.state(run_id) is RunState.RUNNING


async def test_a_run_whose_lease_ran_out_is_taken_up(rig: Rig) -> None:
    run_id = rig.create()
    rig.store.claim(run_id, "a service that is gone", timedelta(0))
    async with rig.scheduling() as scheduler:
        await scheduler.bury()
        worker = await rig.worker(1)
        assert worker.run_id == run_id
        assert rig.interruptions(run_id) == [f"{DIED}: its lease expired"]


async def test_two_agents_that_bury_at_once_bury_once(rig: Rig) -> None:
    run_id = rig.create()
    rig.store.claim(run_id, "a service that is gone", timedelta(0))
    two = [
        Scheduler(rig.store, rig.executor, ["cpu"], per_device=1, max_restarts=0) for _ in range(2)
    ]
    await asyncio.gather(*(scheduler.bury() for scheduler in two))
    assert rig.interruptions(run_id) == [f"{DIED}: its lease expired"]
    assert rig.state(run_id) is RunState.FAILED  # it has died once, not twice


@pytest.mark.parametrize(
    ("desired", "state"),
    [(DesiredState.CANCEL, RunState.CANCELLED), (DesiredState.PAUSE, RunState.PAUSED)],
)
async def test_what_was_wanted_of_a_dead_worker_is_done(
    rig: Rig, desired: DesiredState, state: RunState
) -> None:
    run_id = rig.create()
    async with rig.scheduling():
        worker = await rig.worker(1)
        worker.begin()
        rig.store.set_desired(run_id, desired)
        worker.end(-9)
        await rig.until(lambda: rig.state(run_id) is state)
        assert len(rig.executor.started) == 1


async def test_closing_interrupts_the_workers_and_takes_no_more_runs(rig: Rig) -> None:
    first, second = rig.create(), rig.create()
    async with rig.scheduling():
        worker = await rig.worker(1)
        worker.begin()
    assert worker.terminated
    assert rig.executor.closed
    assert (rig.state(first), rig.state(second)) == (RunState.INTERRUPTED, RunState.QUEUED)


async def test_a_run_that_is_being_claimed_at_the_end_is_not_left_to_its_lease(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, begun, told = rig.store.claim_next, threading.Event(), threading.Event()

    def slow(*arguments: Any) -> Any:
        lease = claim(*arguments)
        begun.set()
        told.wait(120)
        return lease

    monkeypatch.setattr(rig.store, "claim_next", slow)
    run_id = rig.create()
    made = Scheduler(rig.store, rig.executor, ["cpu"], per_device=1, max_restarts=0)
    made.start()
    await asyncio.to_thread(begun.wait, 120)
    closing = asyncio.create_task(made.close(0.05))
    await asyncio.sleep(0.01)
    told.set()
    await closing
    assert rig.interruptions(run_id) == ["the service shut down"]


async def test_a_wake_at_the_same_moment_does_not_lose_the_close(rig: Rig) -> None:
    made = Scheduler(rig.store, rig.executor, ["cpu"], per_device=1, max_restarts=0)
    made.start()
    await asyncio.sleep(0.05)
    made.wake()
    await asyncio.wait_for(made.close(1.0), 120)


async def test_closing_kills_a_worker_that_hangs_and_its_run_is_not_a_death(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = rig.create()
    async with rig.scheduling(grace=0.05):
        worker = await rig.worker(1)
        worker.begin()
        monkeypatch.setattr(worker, "terminate", lambda: None)
    run = rig.store.get_run(run_id)
    assert (run.state, run.reason) == (RunState.INTERRUPTED, "the service shut down")


async def test_an_executor_that_cannot_start_is_tried_again_and_that_is_no_death(rig: Rig) -> None:
    rig.executor.failures = 3
    run_id = rig.create()
    async with rig.scheduling(max_restarts=1):
        worker = await rig.worker(1)
        assert (worker.run_id, worker.attempt) == (run_id, 4)
        worker.end(-9)
        assert (await rig.worker(2)).run_id == run_id


async def test_a_defect_does_not_end_the_giving_out_of_runs(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    healthy = rig.store.next_runs
    failures = iter(["here", "and here"])

    def broken(*arguments: Any) -> Any:
        where = next(failures, "")
        if where:
            raise ZeroDivisionError(where)
        return healthy(*arguments)

    monkeypatch.setattr(rig.store, "next_runs", broken)
    run_id = rig.create()
    async with rig.scheduling():
        assert (await rig.worker(1)).run_id == run_id
    said = capfd.readouterr()
    assert (said.out + said.err).count("scheduler_failed") == 2


@pytest.mark.parametrize("broken", ["wait", "get_run"])
async def test_a_defect_while_minding_frees_the_slot(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    first, second = rig.create(), rig.create()
    async with rig.scheduling() as scheduler:
        worker = await rig.worker(1)
        worker.begin()

        def fail(*_: Any) -> Any:
            raise ZeroDivisionError("injected")

        if broken == "wait":
            worker.lose(ZeroDivisionError("injected"))
        else:
            monkeypatch.setattr(rig.store, broken, fail)
            worker.end(-9)
        assert (await rig.worker(2)).run_id == second
        assert first not in scheduler.workers


@pytest.mark.parametrize("code", [EXIT_DEVICE, EXIT_MEMBER_DIED, -11])
async def test_an_agent_that_has_lost_a_device_takes_no_further_runs(rig: Rig, code: int) -> None:
    """They would all end so. It is no death: others take the run as often as it needs."""
    runs = [rig.create() for _ in range(3)]
    asked: list[Sequence[str]] = []
    gone = ("cuda:0",)

    def have(devices: Sequence[str]) -> bool:
        asked.append(devices)
        return devices != gone

    async with rig.scheduling("cuda:0", "cuda:1", max_restarts=0, have_devices=have) as scheduler:
        worker, other = await rig.worker(1), await rig.worker(2)
        worker.begin()
        worker.end(code, RunState.INTERRUPTED if code == EXIT_DEVICE else None)
        await rig.until(lambda: scheduler.is_leaving)
        assert scheduler.lost_devices == {"cuda:0"}
        assert asked == ([] if code == EXIT_DEVICE else [gone])
        assert not scheduler.is_done
        other.begin()
        other.end(EXIT_OK, RunState.SUCCEEDED)
        await rig.until(lambda: scheduler.is_done)
    states = [rig.state(run_id) for run_id in runs]
    assert states == [RunState.INTERRUPTED, RunState.SUCCEEDED, RunState.QUEUED]
    if code != EXIT_DEVICE:  # otherwise the worker has said so
        assert rig.interruptions(runs[0]) == [DEVICE_LOST]


async def test_a_store_that_workers_cannot_reach_fails_no_run(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    run_id = rig.create()
    async with rig.scheduling(max_restarts=1):
        for number in range(1, 6):
            (await rig.worker(number)).end(EXIT_STORE)
        (await rig.worker(6)).begin()
        assert rig.state(run_id) is RunState.RUNNING


async def test_an_agent_without_slots_leaves_all_runs_to_others(rig: Rig) -> None:
    run_id = rig.create()
    async with rig.scheduling("cpu", per_device=0) as scheduler:
        for _ in range(3):
            scheduler.wake()
            await asyncio.sleep(0.01)
    assert rig.state(run_id) is RunState.QUEUED
