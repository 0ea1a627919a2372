"""Tunes a prompt in this process, on rows that are given in memory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import structlog
import torch

from mentorgrad.domain.event import Created
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import DataFiles, RunSpec
from mentorgrad.errors import PreconditionFailed
from mentorgrad.field_limits import check
from run_store.temporary_store import TemporaryRunStore
from service_common import logs
from trainer_service.job import WorkerJob
from trainer_service.model_settings import default_cache_dir
from trainer_service.prediction.predictor import usable_device
from trainer_service.run_composition import run_parts
from trainer_service.running.execution import execute
from trainer_service.running.stop_control import LEASE, RunMonitor, StopRequest

_FILE = "rows.jsonl"


def fit(
    spec: RunSpec,
    texts: Sequence[str],
    labels: Sequence[int],
    words: Sequence[str],
    *,
    device: str = "cpu",
    mentors: Mapping[str, str] | None = None,
) -> dict[str, bytes]:
    """Executes a run on rows of one's own, as a worker does, without a service and its store.

    Args:
        spec: The run; its task says how many rows are used, and what its description is.
        texts: The texts that train and selection are drawn from.
        labels: Their labels, as indices.
        words: The label words.
        device: Torch device.
        mentors: Mentor by name → ``HOST:PORT``.

    Returns:
        The run's files by name.

    Raises:
        InvalidInput: The spec, the rows or the device cannot be used.
        PreconditionFailed: The run failed; the message says why.
    """
    if not structlog.is_configured():  # outside of a service, which has set it up
        logs.configure("warning")
    with tempfile.TemporaryDirectory(prefix="mentorgrad-") as folder:
        lines = (
            json.dumps({"text": text, "label": label}) + "\n"
            for text, label in zip(texts, labels, strict=True)
        )
        (Path(folder) / _FILE).write_text("".join(lines))
        data, names = DataFiles(_FILE), tuple(words)
        task = replace(spec.task, data=data, labels=names, label_values=(), hub=None)
        job = WorkerJob(
            run_id="here",
            store="here",
            mentors=mentors or {},
            data_roots=(folder,),
            model_roots=(str(Path.cwd()), "/"),  # whoever calls this may read any file
            cache_dir=str(default_cache_dir()),
            device=str(usable_device(device)),
            threads=torch.get_num_threads(),
        )
        return _executed(check(replace(spec, task=task)), job)


def _executed(spec: RunSpec, job: WorkerJob) -> dict[str, bytes]:
    store = TemporaryRunStore()
    try:
        run, *_ = store.create(Created(spec=spec))
        lease, stopper = store.claim(run.run_id, "here", LEASE), StopRequest()
        with RunMonitor(store, lease, stopper):
            state = execute(store, run, lease, run_parts(job), stopper)
        if state is not RunState.SUCCEEDED:
            raise PreconditionFailed(f"the run {state}: {store.get_run(run.run_id).reason}")
        names = [artifact.name for artifact in store.artifacts(run.run_id)]
        return {name: store.read_artifact(run.run_id, name) for name in names}
    finally:
        store.close()
