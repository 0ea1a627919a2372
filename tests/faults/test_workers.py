"""Workers that die, and services that do: the run goes on, and its bytes are what they would be."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import os
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from mentorgrad import AsyncClient
from mentorgrad.domain.event import Created, EventKind, Resumed, StageStarted, StateChanged
from mentorgrad.domain.objective import Function, LabelPrompt
from mentorgrad.domain.query import EventQuery
from mentorgrad.domain.run import Run, RunState
from mentorgrad.domain.spec import (
    Acceptance,
    Budget,
    MentorChoice,
    Optimizer,
    RunSpec,
    Stages,
    Task,
)
from run_store.open import open_store
from run_store.protocols import RunStore
from run_store.temporary_store import TemporaryRunStore
from tests.support.numerics import ON_CUDA
from tests.support.trainer_process import TrainerProcess, eventually
from trainer_service import worker
from trainer_service.agent.interruptions import DIED
from trainer_service.job import (
    EXIT_BAD_JOB,
    EXIT_DEVICE,
    EXIT_NOT_MINE,
    EXIT_OK,
    EXIT_STORE,
    WorkerJob,
)
from trainer_service.objectives.torch_free import ARTIFACT
from trainer_service.run_composition import run_parts
from trainer_service.running.execution import execute
from trainer_service.running.stop_control import DEVICE_LOST, StopRequest

STEPS = 2000
SPEC = RunSpec(
    objective=Function("rastrigin", 3),
    optimizer=Optimizer(learning_rate=0.02),
    stages=Stages(count=3, steps=600),
    mentor=MentorChoice("random_tokens", proposals=6),
    acceptance=Acceptance(finalists=2, probe_steps=10),
    budget=Budget(gradient_steps=STEPS),
    checkpoint_interval=timedelta(milliseconds=100),
    seed=11,
)
ENDLESS = dataclasses.replace(SPEC, stages=Stages(count=2, steps=1_000_000), budget=Budget())


def finish(store: RunStore, run_id: str) -> bytes:
    """Executes a run, or what is left of it, in this process; returns its artifact."""
    torch.set_num_threads(1)
    run = store.get_run(run_id)
    lease = store.claim(run_id, "test", timedelta(hours=1))
    parts = run_parts(WorkerJob(run_id="-", store="-"))
    assert execute(store, run, lease, parts, StopRequest()) is RunState.SUCCEEDED
    return store.read_artifact(run_id, ARTIFACT)


@pytest.fixture(scope="module")
def undisturbed() -> bytes:
    """The artifact of the same run in one piece."""
    store = TemporaryRunStore()
    return finish(store, store.create(Created(spec=SPEC))[0].run_id)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainerProcess]:
    """A service with one worker, for one test's run after the other; it restarts a worker once."""
    folder = tmp_path_factory.mktemp("trainer")
    process = TrainerProcess(folder, "--max-restarts", "1", reuse=True)
    yield process
    process.stop()


@pytest.fixture
async def client(trainer: TrainerProcess) -> AsyncIterator[AsyncClient]:
    """A client whose runs end with the test."""
    async with AsyncClient(trainer.address) as opened:
        yield opened
        for run in (await opened.list_runs()).runs:
            if not run.state.is_final:
                await opened.cancel_run(run.run_id)
                await end(opened, run.run_id)


async def follow(client: AsyncClient, run_id: str, kind: EventKind, after: int = 0) -> int:
    """Waits for an event of that kind; returns its seq."""
    watching = client.watch(run_id, after_seq=after, kinds=(kind,))
    try:
        async for event in watching:
            return event.seq
    finally:
        await watching.aclose()
    raise AssertionError(f"the run ended without {kind}")


async def end(client: AsyncClient, run_id: str) -> Run:
    async for _ in client.watch(run_id):
        pass
    return await client.get_run(run_id)


async def interruptions(client: AsyncClient, run_id: str) -> list[str]:
    query = EventQuery(kinds=(EventKind.STATE_CHANGED,))
    return [
        event.payload.reason
        async for event in client.events(run_id, query)
        if isinstance(event.payload, StateChanged) and event.payload.state is RunState.INTERRUPTED
    ]


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=ON_CUDA)])
async def test_a_killed_worker_leaves_its_device_to_the_next(tmp_path: Path, device: str) -> None:
    spec = dataclasses.replace(SPEC, objective=LabelPrompt(n_tokens=4), task=Task("tickets"))
    spec = dataclasses.replace(
        spec, stages=Stages(count=2, steps=600), budget=Budget(gradient_steps=1200)
    )
    trainer = TrainerProcess(tmp_path, "--device", device)
    try:
        async with AsyncClient(trainer.address) as client:
            assert (await client.trainer_info()).devices == ("cuda:0",)
            run_id = (await client.create_run(spec)).run.run_id
            await follow(client, run_id, EventKind.CHECKPOINT_SAVED)
            trainer.kill_worker()
            run = await end(client, run_id)
            assert (run.state, run.attempt) == (RunState.SUCCEEDED, 2)
            assert run.usage.gradient_steps == 1200
            assert {
                event.payload.device
                async for event in client.events(run_id)
                if isinstance(event.payload, StageStarted)
            } == {"cuda:0"}
    finally:
        trainer.stop()


@pytest.mark.campaign  # `test_kills` has the bytes, and the next test the service's own workers
async def test_a_killed_worker_is_replaced_and_the_bytes_are_the_same(
    trainer: TrainerProcess, client: AsyncClient, undisturbed: bytes
) -> None:
    run_id = (await client.create_run(SPEC)).run.run_id
    await follow(client, run_id, EventKind.CHECKPOINT_SAVED)
    trainer.kill_worker()
    run = await end(client, run_id)
    assert (run.state, run.attempt) == (RunState.SUCCEEDED, 2)
    assert await interruptions(client, run_id) == [f"{DIED}: killed by SIGKILL"]
    resumed = [
        event.payload.checkpoint_seq
        async for event in client.events(run_id)
        if isinstance(event.payload, Resumed)
    ]
    assert len(resumed) == 1
    assert resumed[0] > 0
    assert run.usage.gradient_steps == STEPS
    assert await client.read_artifact(run_id, ARTIFACT) == undisturbed


async def test_a_run_whose_workers_keep_dying_fails_in_the_end(
    trainer: TrainerProcess, client: AsyncClient
) -> None:
    run_id = (await client.create_run(ENDLESS)).run.run_id
    run = await client.get_run(run_id)
    for attempt in (1, 2):
        while run.attempt < attempt:
            await asyncio.sleep(0.02)
            run = await client.get_run(run_id)
        trainer.kill_worker()
    run = await end(client, run_id)
    assert (run.state, run.attempt) == (RunState.FAILED, 2)
    assert "gave up after 2 worker deaths" in run.reason
    assert await interruptions(client, run_id) == [f"{DIED}: killed by SIGKILL"] * 2


async def test_cancelling_a_run_whose_worker_hangs_ends_it_when_the_worker_dies(
    trainer: TrainerProcess, client: AsyncClient
) -> None:
    run_id = (await client.create_run(ENDLESS)).run.run_id
    while (await client.get_run(run_id)).attempt < 1:
        await asyncio.sleep(0.02)
    pid = trainer.worker()
    # Where the store is, and with which password, is nobody else's to read.
    assert b"sqlite" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    trainer.halt_worker()
    await client.cancel_run(run_id)
    trainer.kill_worker()
    run = await end(client, run_id)
    assert (run.state, run.reason) == (RunState.CANCELLED, "cancelled on request")


async def test_other_services_take_up_what_the_last_one_left(
    trainer: TrainerProcess, undisturbed: bytes
) -> None:
    """The first of them is killed, the next one stopped, and the rest of the run is executed
    here. The last test of that trainer."""
    next_trainer: TrainerProcess | None = None
    try:
        async with AsyncClient(trainer.address) as client:
            run_id = (await client.create_run(SPEC)).run.run_id
            await follow(client, run_id, EventKind.CHECKPOINT_SAVED)
            orphans = trainer.children()
        trainer.kill()
        leave(orphans)
        next_trainer = TrainerProcess(trainer.log.parent)
        async with AsyncClient(next_trainer.address) as client:
            resumed = await follow(client, run_id, EventKind.RESUMED)
            await follow(client, run_id, EventKind.CHECKPOINT_SAVED, resumed)
            workers = next_trainer.children()
        assert next_trainer.stop() == 0
        leave(workers)
    finally:
        if next_trainer is not None:
            next_trainer.stop()
    with contextlib.closing(open_store(trainer.store)) as store:
        run = store.get_run(run_id)
        assert (run.state, run.attempt) == (RunState.INTERRUPTED, 2)
        states = [event.payload for event in store.events(run_id)]
        assert [
            payload.reason
            for payload in states
            if isinstance(payload, StateChanged) and payload.state is RunState.INTERRUPTED
        ] == ["the service shut down"] * 2
        assert finish(store, run_id) == undisturbed


def leave(workers: list[int]) -> None:
    """Orphaned or asked to, workers save a checkpoint and leave."""
    assert workers
    eventually(lambda: not any(map(_alive, workers)), "the worker leaves")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A dead orphan may wait for its new parent to notice.
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def _job(store: str) -> bytes:
    return WorkerJob(run_id="no-such-run", store=store).to_line()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", EXIT_OK),  # the service is gone before there was a run
        (b"{}\n", EXIT_BAD_JOB),
        (_job("memory:"), EXIT_NOT_MINE),
        (_job("sqlite:////no/such/folder/x.db"), EXIT_STORE),
    ],
)
def test_a_worker_says_by_its_exit_code_what_became_of_it(
    line: bytes, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line)))
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
    assert worker.main([]) == code


def test_a_worker_whose_device_is_not_there_leaves_the_run_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/runs.sqlite"
    with contextlib.closing(open_store(url)) as store:
        run_id = store.create(Created(spec=SPEC))[0].run_id
        store.claim(run_id, "test", timedelta(hours=1))
        line = WorkerJob(run_id, url, device="cuda:99").to_line()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line)))
        monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
        assert worker.main([]) == EXIT_DEVICE
        run = store.get_run(run_id)
        assert (run.state, run.reason) == (RunState.INTERRUPTED, DEVICE_LOST)
