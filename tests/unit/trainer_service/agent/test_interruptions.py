"""Runs whose workers have ended without an end: taken up again, or given up."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from mentorgrad.domain.run import DesiredState, RunState
from tests.support.scheduling import Rig
from trainer_service.agent.interruptions import DIED
from trainer_service.agent.scheduler import Scheduler
from trainer_service.job import EXIT_OK

LEASE = timedelta(seconds=60)


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
