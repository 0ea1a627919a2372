"""Processes of a run that die: the whole group ends, and the run goes on as it would have."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from mentorgrad import AsyncClient
from mentorgrad.domain.event import Created, EventKind, StateChanged
from mentorgrad.domain.query import EventQuery
from mentorgrad.domain.run import Run, RunState
from mentorgrad.domain.spec import Stages
from run_store.open import open_store
from run_store.temporary_store import TemporaryRunStore
from tests.support.shared_runs import SPEC, by_threads, make_files, members_of
from tests.support.trainer_process import TrainerProcess, eventually
from trainer_service.agent.interruptions import DIED
from trainer_service.job import EXIT_MEMBER_DIED, WorkerJob
from trainer_service.objectives.torch_free import ARTIFACT
from trainer_service.run_composition import run_parts
from trainer_service.running.execution import execute
from trainer_service.running.stop_control import StopRequest

LONG = replace(SPEC, stages=Stages(count=2, steps=300, candidates=2))


def undisturbed(folder: Path, roots: dict[str, tuple[str, ...]]) -> bytes:
    """The artifact of the same run in one piece."""
    torch.set_num_threads(1)
    store = TemporaryRunStore()
    run, _ = store.create(Created(LONG))
    lease = store.claim(run.run_id, "test", timedelta(hours=1))
    how = run_parts(WorkerJob(run_id="-", store="-", **roots))
    with ExitStack() as opened:
        how = by_threads(how, opened)
        assert execute(store, run, lease, how, StopRequest()) is RunState.SUCCEEDED
    return store.read_artifact(run.run_id, ARTIFACT)


def is_gone(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


@pytest.mark.campaign
@pytest.mark.timeout(1800)
async def test_the_death_of_any_process_ends_the_group_and_not_the_run(tmp_path: Path) -> None:
    roots = make_files(tmp_path)
    expected = undisturbed(tmp_path, roots)
    trainer = TrainerProcess(
        tmp_path,
        *("--workers-per-device", "2", "--device", "cpu", "--no-warm"),
        *("--data-root", str(tmp_path), "--model-root", str(tmp_path)),
    )
    seen: list[int] = []
    try:
        async with AsyncClient(trainer.address) as client:
            run_id = (await client.create_run(LONG)).run.run_id

            async def checkpoint() -> tuple[int, int]:
                """Waits for a further one; worker and other process."""
                after = (await client.get_run(run_id)).last_seq
                watching = client.watch(
                    run_id, after_seq=after, kinds=(EventKind.CHECKPOINT_SAVED,)
                )
                async for _ in watching:
                    break
                await watching.aclose()
                (worker,) = trainer.children()
                (member,) = members_of(worker)
                seen.extend((worker, member))
                return worker, member

            async def until(condition: Callable[[Run], bool]) -> Run:
                while not condition(run := await client.get_run(run_id)):
                    await asyncio.sleep(0.05)
                return run

            for victim in (1, 0):
                pids = await checkpoint()
                attempt = (await client.get_run(run_id)).attempt
                os.kill(pids[victim], signal.SIGKILL)
                for pid in pids:
                    eventually(lambda pid=pid: is_gone(pid), "it is gone")  # type: ignore[misc]
                await until(lambda run, attempt=attempt: run.attempt > attempt)  # type: ignore[misc]
            pids = await checkpoint()
            await client.pause_run(run_id)
            await until(lambda run: run.state is RunState.PAUSED)
            for pid in pids:
                eventually(lambda pid=pid: is_gone(pid), "it is gone")  # type: ignore[misc]
            await client.resume_run(run_id)
            pids = await checkpoint()
            os.kill(pids[1], signal.SIGTERM)  # as a control group's stop would: without effect
            run = await until(lambda run: run.state.is_final)
            assert (run.state, run.attempt) == (RunState.SUCCEEDED, 4), run.reason
            reasons = [
                event.payload.reason
                async for event in client.events(
                    run_id, EventQuery(kinds=(EventKind.STATE_CHANGED,))
                )
                if isinstance(event.payload, StateChanged)
                and event.payload.state is RunState.INTERRUPTED
            ]
            assert reasons == [
                f"{DIED}: exit code {EXIT_MEMBER_DIED}",
                f"{DIED}: killed by SIGKILL",
            ]
            assert await client.read_artifact(run_id, ARTIFACT) == expected

            run_id = (await client.create_run(LONG)).run.run_id
            pids = await checkpoint()
            await client.cancel_run(run_id)
            await until(lambda run: run.state is RunState.CANCELLED)
            run_id = (await client.create_run(LONG)).run.run_id
            await checkpoint()
    finally:
        trainer.kill()
    for pid in seen:
        eventually(lambda pid=pid: is_gone(pid), "it is gone")  # type: ignore[misc]
    assert "share_failed" not in trainer.log.read_text()


@pytest.mark.campaign
def test_a_process_that_cannot_build_its_problem_fails_the_run_and_says_where(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/runs.sqlite"
    store = open_store(url)
    run, _ = store.create(Created(SPEC))
    lease = store.claim(run.run_id, "test", timedelta(minutes=5))
    job = WorkerJob(run.run_id, url, members=("cuda:77",), **make_files(tmp_path))
    assert execute(store, run, lease, run_parts(job), StopRequest()) is RunState.FAILED
    assert store.get_run(run.run_id).reason.startswith("on cuda:77: ")
    assert members_of(os.getpid()) == []
    store.close()
