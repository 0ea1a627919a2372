"""The trainer service as it is, but for its workers: what it queues waits.

Its store holds a run in every state, so that the fuzz comes past "there is no such run".
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from campaigns.fuzz import valid
from campaigns.fuzz.values import EXPERIMENTS, SPARE
from mentorgrad.domain.event import Created
from mentorgrad.domain.experiment import ExperimentState
from mentorgrad.domain.run import DesiredState, RunState
from run_store import sql_experiments, sql_writer
from run_store.open import open_store
from run_store.protocols import Lease, RunStore
from tests.support.quick_runs import end_run
from tests.support.served_runs import Worker
from trainer_service import composition
from trainer_service.agent import local_agent
from trainer_service.settings import TrainerSettings

RUNS_WAITING = 1_000
"""Limit of the queue: high enough to create many, low enough to be met."""


class NoWorkers:
    """An executor whose workers do nothing."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    async def prepare(self) -> None: ...

    async def start(self, lease: Lease, devices: Sequence[str]) -> NoWorker:
        return NoWorker(lease, tuple(devices))

    async def close(self) -> None: ...


class NoWorker:
    """Waits for its end."""

    has_begun = False

    def __init__(self, lease: Lease, devices: tuple[str, ...]) -> None:
        self.run_id, self.attempt, self.devices = lease.run_id, lease.attempt, devices
        self._ended = asyncio.Event()

    async def wait(self) -> int:
        await self._ended.wait()
        return 0

    def alive(self) -> bool:
        return not self._ended.is_set()

    def is_silent(self) -> bool:
        return False

    def tell(self, desired: DesiredState) -> None: ...

    def terminate(self) -> None:
        self._ended.set()

    kill = terminate


def fill(store: RunStore) -> None:
    """Runs and experiments of known ids in every state."""
    names = ["finished", "running", "queued", "paused", "failed", *SPARE]
    ids = iter(names)
    make_id, sql_writer.new_run_id = sql_writer.new_run_id, lambda: next(ids)
    for name in names:
        store.create(Created(valid.SPECS[0], f"request of {name}"))
    sql_writer.new_run_id = make_id
    names = iter(EXPERIMENTS)
    make_id, sql_experiments.new_run_id = sql_experiments.new_run_id, lambda: next(names)
    for name in EXPERIMENTS:
        store.create_experiment(valid.EXPERIMENTS[0], f"request of {name}")
    sql_experiments.new_run_id = make_id
    store.set_experiment_state("exp-finished", ExperimentState.FINISHED)
    labels = {"experiment": "exp-finished", "phase": "main", "arm": "none", "task": "toy"}
    spec = replace(valid.SPECS[0], labels=labels)
    counted, _ = store.create(Created(spec, "counted"), experiment_id="exp-finished")
    end_run(store, counted, 1.0)
    finished = Worker(store, "finished")
    finished.segment(0, 1)
    finished.segment(1, 4)
    store.put_blob("finished", finished.attempt, "prompt.safetensors", bytes(600_000))
    finished.finish()
    running = Worker(store, "running")
    running.segment(0, 1)
    store.heartbeat("running", running.attempt, timedelta(days=1))
    store.transition("paused", RunState.PAUSED)
    store.transition("failed", RunState.FAILED, "it failed")
    store.import_run(valid.log())


def lay_out(folder: Path) -> None:
    """What a data root can hold, and what lies beside it."""
    data = folder / "data"
    data.mkdir()
    rows = [f'{{"text": "text {n}", "label": {n % 2}}}' for n in range(12)]
    (data / "good.jsonl").write_text("\n".join(rows))
    (folder / "outside.jsonl").write_text("\n".join(rows))
    (data / "link.jsonl").symlink_to(folder / "outside.jsonl")
    (data / "loop.jsonl").symlink_to(data / "loop.jsonl")
    (data / "zero.jsonl").symlink_to("/dev/zero")
    (data / "wide.csv").write_text("text,label\n" + "x" * 200_000 + ",0\n")
    os.mkfifo(data / "pipe.jsonl")
    with (data / "huge.jsonl").open("wb") as file:
        file.truncate(300 << 20)
    (data / "model").mkdir()


async def main(folder: Path, mentor: str, url: str) -> None:
    lay_out(folder)
    store = open_store(url)
    fill(store)
    store.close()
    local_agent.LocalExecutor = NoWorkers  # type: ignore[assignment,misc]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        absent = probe.getsockname()[1]
    settings = TrainerSettings(
        listen="127.0.0.1:0",
        store=url,
        mentor={"live": mentor, "away": f"127.0.0.1:{absent}"},
        data_root=(folder / "data",),
        model_root=(folder / "data",),
        device="cpu",
        queue_limit=RUNS_WAITING,
        import_limit_mib=16,
        import_limit_events=60,
        cache_dir=folder / "cache",
        log_level="warning",
    )
    await composition.serve(settings)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
