from __future__ import annotations

import asyncio
from asyncio.subprocess import Process

import pytest

from mentorgrad.errors import Unavailable
from trainer_service.executors import local
from trainer_service.executors.local import LocalExecutor
from trainer_service.job import EXIT_NOT_MINE, WorkerJob


class Counted(LocalExecutor):
    """Real processes, counted; the machine is full while `full` is set."""

    def __init__(self, *, warm: bool) -> None:
        super().__init__(self._job, threads=1, warm=warm)
        self.spawned: list[tuple[str, ...]] = []
        self.full = asyncio.Event()
        self.refused = asyncio.Event()

    @staticmethod
    def _job(run_id: str, device: str) -> WorkerJob:
        return WorkerJob(run_id=run_id, store="memory:", owner="test", device=device)

    async def _spawn(self, *arguments: str) -> Process:
        if self.full.is_set():
            self.refused.set()
            raise Unavailable("a worker cannot be started: no memory")
        self.spawned.append(arguments)
        return await super()._spawn()  # without the imports, which take seconds


async def test_a_standby_that_cannot_be_started_does_not_lose_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local, "STANDBY_DELAY", 0.0)
    executor = Counted(warm=True)
    await executor.prepare()
    executor.full.set()
    worker = await executor.start("no-such-run", "cpu")
    assert (worker.run_id, executor.spawned) == ("no-such-run", [("--warm",)])
    assert await worker.wait() == EXIT_NOT_MINE
    await asyncio.wait_for(executor.refused.wait(), 30)
    await executor.close()


async def test_the_next_standby_waits_and_is_not_started_after_the_end() -> None:
    executor = Counted(warm=True)
    worker = await executor.start("no-such-run", "cpu")
    await worker.wait()
    assert executor.spawned == [()]
    again = await executor.start("no-such-run", "cpu")
    await executor.close()
    assert executor.spawned == [(), ()]
    assert await again.wait() == EXIT_NOT_MINE
