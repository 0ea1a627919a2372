"""Trainer, history and experiments over a store in memory, on real sockets; runs recorded as by
workers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from mentorgrad import errors
from mentorgrad.domain.agent import Agent
from mentorgrad.domain.event import (
    CandidatesScored,
    Created,
    Finished,
    RunEvent,
    Segment,
    StageStarted,
)
from mentorgrad.domain.run import Candidate, RunResult, RunState, Score, Snapshot, Usage
from mentorgrad.domain.spec import RunSpec
from mentorgrad.responses import TrainerInfo
from mentorgrad.uploads import uploads_of
from mentorgrad.v1.experiment_service_pb2_grpc import (
    add_ExperimentServiceServicer_to_server,
)
from mentorgrad.v1.history_service_pb2_grpc import add_HistoryServiceServicer_to_server
from mentorgrad.v1.trainer_service_pb2_grpc import add_TrainerServiceServicer_to_server
from run_store.protocols import RunStore
from run_store.servicer import HistoryServicer
from run_store.sql_store import SqlRunStore
from run_store.temporary_store import TemporaryRunStore
from run_store.visibility import OwnerLimits
from service_common.health import HealthCheck, always
from service_common.refusals import TakeRefusal
from service_common.security import Security
from service_common.server import Server
from trainer_service.control_plane.caller_views import views_of_callers
from trainer_service.control_plane.importing import Importer
from trainer_service.control_plane.mentor_registry import MentorRegistry
from trainer_service.control_plane.run_creation import RunCreation
from trainer_service.control_plane.servicer import TrainerServicer
from trainer_service.control_plane.uploading import Uploads
from trainer_service.experiments.coordinator import Coordinator
from trainer_service.experiments.experiment_creation import ExperimentCreation
from trainer_service.experiments.servicer import ExperimentServicer

DIGEST = "d" * 64
OWN = Agent(devices=("cpu",), slots=1)


async def no_mentor(target: str) -> Any:
    raise errors.Unavailable(f"nobody at {target}")


@asynccontextmanager
async def served(
    store: SqlRunStore,
    listen: str = "127.0.0.1:0",
    security: Security | None = None,
    check: HealthCheck = always,
    refused: TakeRefusal | None = None,
) -> AsyncIterator[tuple[Server, str]]:
    services = [f"mentorgrad.v1.{name}Service" for name in ("History", "Trainer", "Experiment")]
    server = Server(listen, services, check=check, security=security, refused=refused)
    seen = views_of_callers(store, OwnerLimits(queue_limit=1, experiment_limit=1))
    history = HistoryServicer(store, seen)
    add_HistoryServiceServicer_to_server(history, server.grpc)
    offered = TrainerInfo(devices=("cpu",), tasks=("tickets",), worker_slots=1, queue_limit=2)
    mentors = MentorRegistry({"absent": "127.0.0.1:1"}, no_mentor)

    def check_data(spec: RunSpec, *, store: RunStore, warn: Any = None) -> str:
        for sha256 in uploads_of(spec.task.data).values():
            store.find_upload(sha256)
        return DIGEST

    runs = RunCreation(mentors, check_data, lambda: None, offered.queue_limit, OWN)
    importer = Importer(1 << 20, 1000)
    uploads = Uploads(store, 1 << 20, timedelta(days=1))
    trainer = TrainerServicer(seen, mentors, runs, lambda: None, importer, offered, uploads)
    add_TrainerServiceServicer_to_server(trainer, server.grpc)
    coordinator = Coordinator(store, runs.submit, lambda: None)
    experiments = ExperimentCreation(mentors, check_data, coordinator.wake)
    add_ExperimentServiceServicer_to_server(
        ExperimentServicer(seen, experiments, coordinator.wake), server.grpc
    )
    for drained in (history, runs, experiments):
        server.on_drain(drained.drain)
    address = await server.start()
    coordinator.start()
    try:
        yield server, address
    finally:
        await coordinator.close()
        await server.stop(0)


class Worker:
    """Records a run as a worker does."""

    def __init__(self, store: TemporaryRunStore, run_id: str) -> None:
        self.store, self.run_id = store, run_id
        lease = store.claim(run_id, "a worker", timedelta(minutes=1))
        self.attempt, self.last = lease.attempt, lease.last_seq

    def write(self, *payloads: Any) -> None:
        events = [
            RunEvent(self.run_id, self.last + n, self.attempt, datetime.now(UTC), payload)
            for n, payload in enumerate(payloads, start=1)
        ]
        self.last = self.store.append(self.run_id, self.attempt, events)

    def segment(self, stage: int, first: int, count: int = 3) -> None:
        steps = range(first, first + count)
        self.write(
            Segment(
                stage=stage,
                step_start=first,
                step_end=first + count - 1,
                snapshots=tuple(Snapshot(step=step, train_loss=1 / step) for step in steps),
                parameters=np.array([[step, -step] for step in steps], dtype=np.float32),
            )
        )

    def finish(self) -> None:
        best = Candidate(candidate_id="s1/step6", stage=1, score=Score(loss=0.25, rows=10))
        usage = Usage(gradient_steps=6, evaluations=1)
        self.write(
            CandidatesScored(stage=1, candidates=(best,), usage=usage),
            Finished(RunState.SUCCEEDED, RunResult(returned=best, usage=usage)),
        )


def queue_run(store: TemporaryRunStore, spec: RunSpec | None = None) -> str:
    run, _ = store.create(Created(spec=spec or RunSpec(name="toy")))
    return run.run_id


def finished_run(store: TemporaryRunStore) -> str:
    run_id = queue_run(store)
    worker = Worker(store, run_id)
    worker.write(StageStarted(stage=0))
    worker.segment(0, 1)
    worker.write(StageStarted(stage=1, step=3))
    worker.segment(1, 4)
    store.put_blob(run_id, worker.attempt, "prompt.safetensors", bytes(range(256)) * 3000)
    worker.finish()
    return run_id
