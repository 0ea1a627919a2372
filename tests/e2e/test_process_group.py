"""A run of two real processes: the bits of two threads, and the losses of one process."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

from mentorgrad.domain.event import Created, Segment, StageStarted
from mentorgrad.domain.run import RunState
from run_store.open import open_store
from run_store.protocols import RunStore
from tests.support.effective_log import effective
from tests.support.shared_runs import SPEC, by_threads, make_files, members_of
from trainer_service.job import WorkerJob
from trainer_service.run_composition import run_parts
from trainer_service.running.execution import execute
from trainer_service.running.stop_control import StopRequest


def losses(store: RunStore, run_id: str) -> list[float]:
    """Of all steps, and of what the run returned: on selection and on test."""
    result = store.get_run(run_id).result
    assert result is not None
    assert result.test is not None
    steps = [
        snapshot.train_loss
        for event in store.events(run_id)
        if isinstance(event.payload, Segment)
        for snapshot in event.payload.snapshots
    ]
    return [*steps, result.returned.score.loss, result.test.loss]


@pytest.mark.usefixtures("without_probe")
def test_two_processes_have_the_losses_of_one(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    url = f"sqlite:///{tmp_path}/runs.sqlite"
    store = open_store(url)
    job = WorkerJob(run_id="-", store=url, **make_files(tmp_path))

    def done(devices: int, **fields: Any) -> str:
        run, _ = store.create(Created(replace(SPEC, devices=devices)))
        lease = store.claim(run.run_id, "test", timedelta(minutes=5))
        how = run_parts(replace(job, run_id=run.run_id, **fields))
        with ExitStack() as opened:
            how = how if fields or devices == 1 else by_threads(how, opened)
            assert execute(store, run, lease, how, StopRequest()) is RunState.SUCCEEDED
        return run.run_id

    alone, threads, processes = done(1), done(2), done(2, members=("cpu",))
    assert members_of(os.getpid()) == []
    found = losses(store, processes)
    assert len(found) == 8 + 2
    assert found == pytest.approx(losses(store, alone), rel=1e-4)
    assert effective(store, processes) == effective(store, threads)
    assert {
        event.payload.device
        for event in store.events(processes)
        if isinstance(event.payload, StageStarted)
    } == {"cpu,cpu"}
    store.close()
