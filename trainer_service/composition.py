"""The composition root of the trainer service: chooses its concrete classes and wires them.

The service never imports torch. A worker has a root of its own, `trainer_service.run_composition`.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from mentorgrad.errors import Unavailable
from mentorgrad.paths import check_temporary_folder
from mentorgrad.responses import TrainerInfo
from mentorgrad.v1 import (
    experiment_service_pb2_grpc,
    history_service_pb2_grpc,
    trainer_service_pb2_grpc,
)
from mentorgrad.wire import tracing
from run_store.dialects import READ_ONLY
from run_store.open import open_for_service
from run_store.protocols import RunStore
from run_store.servicer import SERVICE_NAME as HISTORY
from run_store.servicer import HistoryServicer
from run_store.visibility import OwnerLimits
from service_common import logs
from service_common.health import in_thread
from service_common.metrics import exposed
from service_common.security import Security, protect
from service_common.server import Server, announce, wait_for_signal
from trainer_service.agent.jobs import check_mentors, mentor_access
from trainer_service.agent.local_agent import LocalAgent, Role
from trainer_service.agent.store_metrics import StoreMetrics
from trainer_service.control_plane.audit_recorder import AuditRecorder
from trainer_service.control_plane.caller_views import views_of_callers
from trainer_service.control_plane.data_check import data_check
from trainer_service.control_plane.importing import Importer
from trainer_service.control_plane.mentor_registry import MentorRegistry
from trainer_service.control_plane.run_creation import RunCreation
from trainer_service.control_plane.servicer import SERVICE_NAME as TRAINER
from trainer_service.control_plane.servicer import TrainerServicer
from trainer_service.control_plane.uploading import Uploads
from trainer_service.experiments.coordinator import Coordinator
from trainer_service.experiments.experiment_creation import ExperimentCreation
from trainer_service.experiments.servicer import SERVICE_NAME as EXPERIMENT
from trainer_service.experiments.servicer import ExperimentServicer
from trainer_service.mentors.remote import probe
from trainer_service.settings import TrainerSettings
from trainer_service.tasks.builtin import builtin_names
from trainer_service.webhooks.endpoint import check_secrets, endpoints_of
from trainer_service.webhooks.sender import WebhookSender

log = structlog.get_logger(__name__)

PROBE_SECONDS = 2.0
"""Timeout of the GetMentorInfo call when a run is created."""


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

    def ended(run_id: str, devices: Sequence[str], code: int) -> None:
        coordinator.wake()

    role = Role("trainer", settings.workers_per_device)
    agent = LocalAgent(settings, role, store, registry, ended)
    scheduler = agent.scheduler
    importer = Importer(settings.import_limit_mib << 20, settings.import_limit_events)
    keep = timedelta(hours=settings.upload_keep_hours)
    uploads = Uploads(store, settings.upload_limit_mib << 20, keep)
    offered = TrainerInfo(
        devices=agent.devices,
        tasks=builtin_names(),
        worker_slots=scheduler.slots,
        queue_limit=settings.queue_limit,
        tuned_models=tuple(settings.tuned_model),
        webhooks=tuple(settings.webhook),
    )
    own = agent.record()
    # Workers elsewhere decide about the devices of runs that are not for this machine.
    most_devices = own.most_devices if own.slots else None
    check_data = data_check(settings, most_devices, settings.webhook)
    mentors = MentorRegistry(
        settings.mentor,
        partial(probe, timeout=PROBE_SECONDS, credentials=mentor_access(settings)),
    )
    runs = RunCreation(mentors, check_data, agent.wake, settings.queue_limit, own)
    limits = _owner_limits(settings)
    coordinator = Coordinator(store, runs.submit, agent.wake, limits)

    def wake() -> None:
        agent.wake()
        coordinator.wake()

    seen = views_of_callers(store, limits)
    experiments = ExperimentCreation(mentors, check_data, wake)
    history = HistoryServicer(store, seen)
    endpoints = endpoints_of(settings)
    check_secrets(endpoints.values())
    webhooks = WebhookSender(store, endpoints, settings.webhook_link, registry)
    audit = AuditRecorder(store, timedelta(days=settings.audit_days))
    server = Server(
        settings.listen,
        (TRAINER, HISTORY, EXPERIMENT),
        check=in_thread(_store_check(store, StoreMetrics(registry, settings.webhook))),
        registry=registry,
        security=security,
        refused=audit.refused,
    )
    add_trainer: Any = trainer_service_pb2_grpc.add_TrainerServiceServicer_to_server
    add_history: Any = history_service_pb2_grpc.add_HistoryServiceServicer_to_server
    add_experiment: Any = experiment_service_pb2_grpc.add_ExperimentServiceServicer_to_server
    trainer = TrainerServicer(seen, mentors, runs, agent.wake, importer, offered, uploads)
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
        await agent.close(settings.drain_seconds)
        await webhooks.close(max(deadline - time.monotonic(), 0.0) / 2)
        await server.stop(max(deadline - time.monotonic(), 0.0))
        await audit.close()

    stack.push_async_callback(drain)
    if _may_write(store):
        await agent.start()
        coordinator.start()
        uploads.start()
        audit.start()
        webhooks.start()
    else:
        log.warning("store_read_only", store=store.url)
    return await server.start()


def _owner_limits(settings: TrainerSettings) -> OwnerLimits:
    size = settings.owner_size_limit_mib
    return OwnerLimits(
        queue_limit=settings.owner_queue_limit or max(settings.queue_limit // 2, 1),
        experiment_limit=settings.owner_experiment_limit,
        run_limit=settings.owner_run_limit,
        size_limit=None if size is None else size << 20,
    )


def _store_check(store: RunStore, metrics: StoreMetrics) -> Callable[[], Sequence[str]]:
    """The health check: whether the store answers, and whether it can be written, which the history
    does not need. It also updates the metrics of what the store holds."""

    def check() -> Sequence[str]:
        store.check()
        metrics.read(store)
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
