"""Which waiting runs an agent reads and claims while others do, too."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from mentorgrad.domain.run import RunState
from run_store.protocols import Lease
from tests.support.scheduling import Rig
from trainer_service.agent import scheduler as module
from trainer_service.agent import waiting_runs
from trainer_service.job import EXIT_OK

LEASE = timedelta(seconds=60)


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
