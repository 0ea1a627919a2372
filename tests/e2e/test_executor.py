"""Local workers as real processes: a standby, reuse for several runs, a kill."""

from __future__ import annotations

import asyncio
import signal
from asyncio.subprocess import Process
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.domain.event import Created
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import Acceptance, MentorChoice, RunSpec, Stages
from mentorgrad.errors import Unavailable
from run_store.open import open_store
from run_store.protocols import Lease
from trainer_service.agent import local_executor as local
from trainer_service.agent.local_executor import LocalExecutor, LocalWorker
from trainer_service.job import EXIT_NOT_MINE, EXIT_OK, WorkerJob
from trainer_service.running.stop_control import LEASE

NONE = Lease("no-such-run", 1, 0)


class Counted(LocalExecutor):
    """Real processes, counted; the machine is full while `full` is set."""

    def __init__(self, *, warm: bool) -> None:
        super().__init__(self._job, threads=1, warm=warm)
        self.spawned: list[tuple[str, ...]] = []
        self.full = asyncio.Event()
        self.refused = asyncio.Event()

    @staticmethod
    def _job(lease: Lease, devices: Sequence[str]) -> WorkerJob:
        return WorkerJob(lease.run_id, "memory:", device=devices[0])

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
    worker = await executor.start(NONE, ["cpu"])
    assert (worker.run_id, executor.spawned) == ("no-such-run", [("--warm",)])
    assert await worker.wait() == EXIT_NOT_MINE
    await asyncio.wait_for(executor.refused.wait(), 120)
    await executor.close()


async def test_the_next_standby_waits_and_is_not_started_after_the_end() -> None:
    executor = Counted(warm=True)
    worker = await executor.start(NONE, ["cpu"])
    await worker.wait()
    assert executor.spawned == [()]
    again = await executor.start(NONE, ["cpu"])
    await executor.close()
    assert executor.spawned == [(), ()]
    assert await again.wait() == EXIT_NOT_MINE


QUICK = RunSpec(Function("rastrigin", 2), stages=Stages(1, 5))


class Reusing(LocalExecutor):
    """Real workers on a real store, counted."""

    def __init__(self, store: str, runs_each: int) -> None:
        super().__init__(self._job, threads=1, warm=False, runs_each=runs_each)
        self._store = store
        self.spawned: list[Process] = []

    def _job(self, lease: Lease, devices: Sequence[str]) -> WorkerJob:
        return WorkerJob(lease.run_id, self._store, lease.attempt, device="cpu")

    async def _spawn(self, *arguments: str) -> Process:
        self.spawned.append(await super()._spawn(*arguments))
        return self.spawned[-1]


TUNED = replace(
    QUICK,
    stages=Stages(2, 4),
    mentor=MentorChoice("perturb"),
    acceptance=Acceptance(finalists=1, probe_steps=2),
)
"""`tests/unit/trainer_service/running/test_runs_of_a_worker.py` has runs with a model."""


async def test_a_process_executes_its_share_of_runs_and_each_as_if_it_were_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit."""
    url = f"sqlite:///{tmp_path}/runs.sqlite"
    store = open_store(url)
    executor = Reusing(url, runs_each=3)
    specs = {"quick": QUICK, "tuned": TUNED, "other": replace(TUNED, seed=1)}
    left: dict[str, list[Any]] = {name: [] for name in specs}

    async def execute(name: str, device: str = "cpu") -> None:
        run, _ = store.create(Created(specs[name]))
        lease = store.claim(run.run_id, "test", LEASE)
        worker = await executor.start(lease, [device])
        assert await worker.wait() == EXIT_OK
        worker.kill()  # of an ended run: does nothing, to the next one's process neither
        assert not worker.alive()
        assert worker.attempt == 1
        result = store.get_run(run.run_id).result
        assert result is not None
        prompt = store.read_artifact(run.run_id, "prompt.safetensors")
        left[name].append((result.returned, prompt))

    for name in ("quick", "tuned", "other", "tuned"):
        await execute(name)
    await execute("quick", "another")
    # Three runs, then another process; one of another device gets its own.
    assert len(executor.spawned) == 3
    assert await executor.spawned[0].wait() == EXIT_OK
    assert executor.spawned[1].returncode is None
    monkeypatch.setattr(local, "IDLE_SECONDS", 0.0)
    await execute("quick")
    assert await executor.spawned[1].wait() == EXIT_OK  # it waits in vain
    await executor.close()
    assert {process.returncode for process in executor.spawned} == {EXIT_OK}
    assert len(executor.spawned) == 3
    assert left["quick"] == [left["quick"][0]] * 3
    assert left["tuned"] == [left["tuned"][0]] * 2
    assert left["other"][0][1] != left["tuned"][0][1]
    store.close()


@pytest.mark.campaign
async def test_a_process_whose_run_is_cut_off_ends_and_takes_no_other_run_with_it(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/runs.sqlite"
    store = open_store(url)
    executor = Reusing(url, runs_each=9)

    async def begun(run_id: str) -> LocalWorker:
        worker = await executor.start(store.claim(run_id, "test", LEASE), ["cpu"])
        while not worker.has_begun:
            await asyncio.sleep(0.05)
        return worker

    endless = replace(QUICK, stages=Stages(1, 1_000_000))
    first, killed, stopped = (store.create(Created(s))[0].run_id for s in (QUICK, endless, endless))
    claimed = store.claim(first, "test", LEASE)
    assert await (await executor.start(claimed, ["cpu"])).wait() == EXIT_OK
    worker = await begun(killed)
    worker.kill()
    assert await worker.wait() == -signal.SIGKILL
    assert store.get_run(killed).state is RunState.RUNNING  # left for the scheduler to mark
    assert len(executor.spawned) == 1
    worker = await begun(stopped)
    assert len(executor.spawned) == 2
    worker.terminate()
    assert await worker.wait() == EXIT_OK
    assert store.get_run(stopped).state is RunState.INTERRUPTED
    assert executor.spawned[1].returncode == EXIT_OK
    worker = await executor.start(NONE, ["cpu"])
    assert await worker.wait() == EXIT_NOT_MINE
    assert len(executor.spawned) == 3
    assert executor.spawned[2].returncode == EXIT_NOT_MINE
    await executor.close()
    store.close()
