"""Local workers as processes: a standby, reuse for several runs, a kill."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

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
from trainer_service.run_composition import run_parts
from trainer_service.running.execution import execute
from trainer_service.running.stop_control import LEASE, StopRequest

NONE = Lease("no-such-run", 1, 0)


LEAVES = f"import sys; sys.stdin.readline(); sys.exit({EXIT_NOT_MINE})"
"""What a worker does whose run is not there, without a worker's imports."""
STAYS = """import sys; [print('{"ended": 0}', flush=True) for line in sys.stdin]"""
"""What a worker does with runs that succeed."""


async def stand_in(program: str) -> Process:
    """A process in place of a worker."""
    command = (sys.executable, "-S", "-c", program)
    return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)


class Counted(LocalExecutor):
    """Stand-ins of workers, counted; the machine is full while `full` is set."""

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
        return await stand_in(LEAVES)


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
    """Workers on a real store, counted; stand-ins while `stands_in` is set."""

    def __init__(self, store: str, runs_each: int) -> None:
        super().__init__(self._job, threads=1, warm=False, runs_each=runs_each)
        self._store = store
        self.spawned: list[Process] = []
        self.stands_in = False

    def _job(self, lease: Lease, devices: Sequence[str]) -> WorkerJob:
        return WorkerJob(lease.run_id, self._store, lease.attempt, device="cpu")

    async def _spawn(self, *arguments: str) -> Process:
        process = await (stand_in(STAYS) if self.stands_in else super()._spawn(*arguments))
        self.spawned.append(process)
        return process


TUNED = replace(
    QUICK,
    stages=Stages(2, 4),
    mentor=MentorChoice("perturb"),
    acceptance=Acceptance(finalists=1, probe_steps=2),
)
"""`tests/unit/trainer_service/running/test_runs_of_a_worker.py` has runs with a model."""


@pytest.mark.campaign
async def test_a_process_executes_several_runs_and_each_as_if_it_were_the_first(
    tmp_path: Path,
) -> None:
    """To the bit: as they are alone, in this process. In the suite, `test_demo.py` has a process
    that executes several runs, and `test_runs_of_a_worker.py` that none changes the next."""
    torch.set_num_threads(1)
    url = f"sqlite:///{tmp_path}/runs.sqlite"
    store = open_store(url)
    executor = Reusing(url, runs_each=3)
    specs = (TUNED, replace(TUNED, seed=1), TUNED)
    left: list[Any] = []

    def result_of(run_id: str) -> tuple[Any, bytes]:
        result = store.get_run(run_id).result
        assert result is not None
        return result.returned, store.read_artifact(run_id, "prompt.safetensors")

    for spec in specs:
        run, _ = store.create(Created(spec))
        lease = store.claim(run.run_id, "test", LEASE)
        worker = await executor.start(lease, ["cpu"])
        assert await worker.wait() == EXIT_OK
        worker.kill()  # of an ended run: does nothing, to the next one's process neither
        assert not worker.alive()
        assert worker.attempt == 1
        left.append(result_of(run.run_id))
    assert [await process.wait() for process in executor.spawned] == [EXIT_OK]
    run, _ = store.create(Created(TUNED))
    lease = store.claim(run.run_id, "test", LEASE)
    how = run_parts(executor._job(lease, ["cpu"]))
    assert execute(store, run, lease, how, StopRequest()) is RunState.SUCCEEDED
    assert left[0] == left[2] == result_of(run.run_id)
    assert left[0][1] != left[1][1]
    await executor.close()
    store.close()


async def test_a_process_executes_its_share_of_runs_on_its_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    executor = Reusing("memory:", runs_each=3)
    executor.stands_in = True

    async def execute_on(device: str) -> None:
        assert await (await executor.start(NONE, [device])).wait() == EXIT_OK

    for _ in range(4):
        await execute_on("cpu")
    await execute_on("another")
    # Three runs, then another process; one of another device gets its own.
    assert len(executor.spawned) == 3
    assert await executor.spawned[0].wait() == EXIT_OK
    assert executor.spawned[1].returncode is None
    monkeypatch.setattr(local, "IDLE_SECONDS", 0.0)
    await execute_on("cpu")
    assert await executor.spawned[1].wait() == EXIT_OK  # it waits in vain
    await executor.close()
    assert [process.returncode for process in executor.spawned] == [EXIT_OK] * 3


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
