"""The scheduler: which runs get which slots, and how it ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from mentorgrad.domain.run import DesiredState, RunState
from tests.support.scheduling import Rig
from trainer_service.agent import scheduler as module
from trainer_service.agent.scheduler import Scheduler
from trainer_service.job import EXIT_DEVICE, EXIT_MEMBER_DIED, EXIT_OK, EXIT_STORE
from trainer_service.running.stop_control import DEVICE_LOST

LEASE = timedelta(seconds=60)


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
