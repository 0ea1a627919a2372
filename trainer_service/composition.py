"""The composition root of the trainer service: chooses its concrete classes and wires them.

The service never imports torch. A worker has a root of its own, `trainer_service.run_composition`.
"""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput, Unavailable
from mentorgrad.paths import check_temporary_folder
from mentorgrad.responses import TrainerInfo
from mentorgrad.v1 import (
    experiment_service_pb2_grpc,
    history_service_pb2_grpc,
    trainer_service_pb2_grpc,
)
from mentorgrad.wire import tracing
from mentorgrad.wire.credentials import Credentials
from run_store.dialects import READ_ONLY
from run_store.open import open_for_service
from run_store.protocols import RunStore
from run_store.servicer import SERVICE_NAME as HISTORY
from run_store.servicer import HistoryServicer
from service_common import logs
from service_common.health import in_thread
from service_common.metrics import exposed
from service_common.security import Security, protect
from service_common.server import Server, announce, wait_for_signal
from trainer_service.control_plane.audit_recorder import AuditRecorder
from trainer_service.control_plane.caller_views import views_of_callers
from trainer_service.control_plane.importing import Importer
from trainer_service.control_plane.mentor_registry import MentorRegistry
from trainer_service.control_plane.metrics import TrainerMetrics
from trainer_service.control_plane.run_creation import DataCheck, RunCreation
from trainer_service.control_plane.scheduler import Scheduler
from trainer_service.control_plane.servicer import SERVICE_NAME as TRAINER
from trainer_service.control_plane.servicer import TrainerServicer
from trainer_service.control_plane.uploading import Uploads
from trainer_service.control_plane.validation import validate_objective
from trainer_service.executors.base import check_store
from trainer_service.executors.local import LocalExecutor, MakeJob
from trainer_service.experiments.coordinator import Coordinator
from trainer_service.experiments.experiment_creation import ExperimentCreation
from trainer_service.experiments.servicer import SERVICE_NAME as EXPERIMENT
from trainer_service.experiments.servicer import ExperimentServicer
from trainer_service.job import WorkerJob
from trainer_service.mentors.remote import probe
from trainer_service.objectives.start_files import files_of_run
from trainer_service.settings import TrainerSettings
from trainer_service.tasks.builtin import builtin_names

log = structlog.get_logger(__name__)


async def serve(settings: TrainerSettings) -> None:
    """Runs the trainer service until SIGINT or SIGTERM. When it is ready, it writes one JSON line
    with its address to standard output.

    Args:
        settings: Read once, at start.

    Raises:
        InvalidInput: A setting is invalid.
        Unavailable: The store does not answer, or the address cannot be bound.
    """
    logs.configure(settings.log_level, settings.log_format)
    if missing := tracing.configure("mentorgrad-trainer"):
        log.warning("no_traces", reason=missing)
    security = protect(settings)
    check_mentors(settings)
    check_temporary_folder()
    async with AsyncExitStack() as stack:
        store = open_for_service(settings.store)
        stack.callback(store.close)
        store.check()
        registry = CollectorRegistry()
        shown = stack.enter_context(exposed(settings.metrics, registry))
        address = await start_service(settings, store, stack, security, registry)
        gc.freeze()  # exempts long-lived objects from every later collection
        log.info("serving", address=address, metrics=shown, store=store.url)
        await wait_for_signal(lambda: announce("trainer", address, shown))
        log.info("stopping", within_seconds=settings.drain_seconds)
    tracing.flush()


async def start_service(
    settings: TrainerSettings,
    store: RunStore,
    stack: AsyncExitStack,
    security: Security,
    registry: CollectorRegistry,
) -> str:
    """Starts server, scheduler and standby worker; returns the address. Leaving `stack` stops
    them."""
    devices = find_devices(settings.device)
    metrics = TrainerMetrics(registry, devices)
    executor = LocalExecutor(
        _job_maker(settings),
        threads=settings.threads,
        warm=settings.warm,
        runs_each=settings.runs_per_worker,
        reported=metrics.take,
    )
    check_store(executor, settings.store)

    def ended(run_id: str, devices: Sequence[str], code: int) -> None:
        metrics.ended(run_id, devices, code)
        coordinator.wake()

    scheduler = Scheduler(
        store,
        executor,
        devices,
        per_device=settings.workers_per_device,
        max_restarts=settings.max_restarts,
        owner_limit=settings.owner_running_limit,
        ended=ended,
    )
    metrics.watch_slots(lambda: len(scheduler.workers), scheduler.slots)
    importer = Importer(settings.import_limit_mib << 20, settings.import_limit_events)
    keep = timedelta(hours=settings.upload_keep_hours)
    uploads = Uploads(store, settings.upload_limit_mib << 20, keep)
    offered = TrainerInfo(
        devices=devices,
        tasks=builtin_names(),
        worker_slots=scheduler.slots,
        queue_limit=settings.queue_limit,
        tuned_models=tuple(settings.tuned_model),
    )
    check_data = _data_check(settings, scheduler.most_devices)
    mentors = MentorRegistry(
        settings.mentor,
        partial(probe, timeout=PROBE_SECONDS, credentials=_mentor_access(settings)),
    )
    runs = RunCreation(mentors, check_data, scheduler.wake, settings.queue_limit)
    owner_queue = settings.owner_queue_limit or max(settings.queue_limit // 2, 1)
    coordinator = Coordinator(store, runs.submit, scheduler.slots, scheduler.wake, owner_queue)

    def wake() -> None:
        scheduler.wake()
        coordinator.wake()

    seen = views_of_callers(store, owner_queue, settings.owner_experiment_limit)
    experiments = ExperimentCreation(mentors, check_data, wake)
    history = HistoryServicer(store, seen)
    audit = AuditRecorder(store, timedelta(days=settings.audit_days))
    server = Server(
        settings.listen,
        (TRAINER, HISTORY, EXPERIMENT),
        check=in_thread(_store_check(store, metrics)),
        registry=registry,
        security=security,
        refused=audit.refused,
    )
    add_trainer: Any = trainer_service_pb2_grpc.add_TrainerServiceServicer_to_server
    add_history: Any = history_service_pb2_grpc.add_HistoryServiceServicer_to_server
    add_experiment: Any = experiment_service_pb2_grpc.add_ExperimentServiceServicer_to_server
    trainer = TrainerServicer(seen, mentors, runs, scheduler.wake, importer, offered, uploads)
    add_trainer(trainer, server.grpc)
    add_history(history, server.grpc)
    add_experiment(ExperimentServicer(seen, experiments, wake), server.grpc)
    for drained in (runs, history, experiments):
        server.on_drain(drained.drain)

    async def drain() -> None:
        """Reports NOT_SERVING, ends the event streams, stops the workers, then awaits the open
        calls."""
        deadline = time.monotonic() + settings.drain_seconds
        await server.drain()
        await coordinator.close()
        await uploads.close()
        await scheduler.close(settings.drain_seconds)
        await server.stop(max(deadline - time.monotonic(), 0.0))
        await audit.close()

    if is_writable := _may_write(store):
        await executor.prepare()
    else:
        log.warning("store_read_only", store=store.url)
    stack.push_async_callback(drain)
    if is_writable:
        scheduler.start()
        coordinator.start()
        uploads.start()
        audit.start()
    return await server.start()


def _data_check(settings: TrainerSettings, most_devices: int) -> DataCheck:
    def check(
        spec: RunSpec, *, store: RunStore, warn: Callable[[str], None] = lambda text: None
    ) -> str:
        return validate_objective(
            spec,
            data_roots=settings.data_root,
            model_roots=settings.model_root,
            tuned_models=tuple(settings.tuned_model),
            cache_dir=settings.cache_dir,
            uploads=store,
            open_run=partial(files_of_run, store),
            most_devices=most_devices,
            warn=warn,
        )

    return check


def _store_check(store: RunStore, metrics: TrainerMetrics) -> Callable[[], Sequence[str]]:
    """The health check: whether the store answers, and whether it can be written, which the history
    does not need. It also updates the queue length metric."""

    def check() -> Sequence[str]:
        store.check()
        metrics.queue.set(store.queued())
        return () if _may_write(store) else (TRAINER, EXPERIMENT)

    return check


def _may_write(store: RunStore) -> bool:
    try:
        store.check_writable()
    except Unavailable as error:
        if error.reason != READ_ONLY:
            raise
        return False
    return True


def _job_maker(settings: TrainerSettings) -> MakeJob:
    owner = f"{socket.gethostname()}:{os.getpid()}"
    access = _mentor_access(settings)

    def make(run_id: str, devices: Sequence[str]) -> WorkerJob:
        return WorkerJob(
            run_id=run_id,
            store=settings.store,
            owner=owner,
            mentors=settings.mentor,
            mentor_access=access,
            tuned_models=settings.tuned_model,
            data_roots=tuple(map(str, settings.data_root)),
            model_roots=tuple(map(str, settings.model_root)),
            cache_dir=str(settings.cache_dir),
            device=devices[0],
            members=tuple(devices[1:]),
            threads=settings.threads,
            log_level=settings.log_level,
            log_format=settings.log_format,
            state_cache_mib=settings.state_cache_mib,
            spool_mib=settings.spool_mib,
            store_patience=settings.store_patience,
        )

    return make


def _mentor_access(settings: TrainerSettings) -> Credentials:
    def absolute(path: Path | None) -> Path | None:
        return path.absolute() if path is not None else None

    return Credentials(
        ca=absolute(settings.mentor_ca),
        certificate=absolute(settings.mentor_certificate),
        key=absolute(settings.mentor_key),
        token_file=absolute(settings.mentor_token_file),
        insecure=settings.insecure,
    )


def check_mentors(settings: TrainerSettings) -> None:
    """Validates the trainer's credentials for its mentors at start, before a run needs them.

    Raises:
        InvalidInput: A setting or a file is invalid, or a token would be sent unencrypted.
    """
    try:
        credentials = _mentor_access(settings)
        credentials.read()
        credentials.bearer()
        for target in settings.mentor.values():
            credentials.check_target(target)
            if credentials.exposes_token(target):
                log.warning("token_unprotected", mentor=target)
    except InvalidInput as error:
        raise InvalidInput(
            violations=[replace(v, field=f"mentor_{v.field}") for v in error.violations],
            reason=error.reason,
        ) from None


PROBE_SECONDS = 2.0
"""Timeout of the GetMentorInfo call when a run is created."""


def find_devices(wanted: str) -> tuple[str, ...]:
    """The devices that runs are executed on, for example ``("cuda:0", "cuda:1")``.

    The service itself never imports torch, so a child process counts the CUDA devices, and only
    if an NVIDIA driver is loaded.

    Raises:
        InvalidInput: `wanted` is ``cuda`` and torch finds no CUDA device.
    """
    if wanted == "cpu":
        return ("cpu",)
    count = _cuda_devices() if Path("/proc/driver/nvidia/version").exists() else 0
    if count == 0 and wanted == "cuda":
        raise InvalidInput.field("device", "torch finds no CUDA device on this machine")
    return tuple(f"cuda:{index}" for index in range(count)) or ("cpu",)


def _cuda_devices() -> int:
    code = "import torch; print(torch.cuda.device_count())"
    asked = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    return int(asked.stdout) if asked.returncode == 0 and asked.stdout.strip().isdigit() else 0
