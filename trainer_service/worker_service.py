"""The composition root of ``mentorgrad serve worker``: an agent without a trainer service.

It claims runs from the store that a trainer service fills, and starts the same worker processes. It
listens on nothing, so it can stand behind a firewall: it only has to reach the store and the
mentors.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from mentorgrad.errors import Unavailable
from mentorgrad.paths import check_temporary_folder
from mentorgrad.wire import tracing
from run_store.open import open_store
from service_common import logs
from service_common.metrics import exposed
from service_common.server import wait_for_signal
from trainer_service.agent.jobs import check_mentors
from trainer_service.agent.local_agent import LocalAgent, Role
from trainer_service.agent.settings import WorkerSettings
from trainer_service.control_plane.data_check import data_check

WaitForEnd = Callable[[Callable[[], None]], Coroutine[Any, Any, None]]

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.2
"""Interval at which it looks whether it is done."""


async def serve(settings: WorkerSettings, told: WaitForEnd = wait_for_signal) -> None:
    """Executes runs until it is told to end, or until there is nothing left to do. When it is
    ready, it writes one JSON line with its name to standard output.

    Args:
        settings: Read once, at start.
        told: Waits until it is told to end, by default by SIGINT or SIGTERM; calls its argument
            when it listens.

    Raises:
        InvalidInput: A setting is invalid, or the store has another schema.
        Conflict: Another worker has the name.
        Unavailable: The store does not answer, or may only be read; or a device does not answer any
            more, and the last run has ended.
    """
    logs.configure(settings.log_level, settings.log_format)
    if missing := tracing.configure("mentorgrad-worker"):
        log.warning("no_traces", reason=missing)
    check_mentors(settings)
    check_temporary_folder()
    async with AsyncExitStack() as stack:
        store = open_store(settings.store, migrate=False)
        stack.callback(store.close)
        store.check_writable()
        registry = CollectorRegistry()
        shown = stack.enter_context(exposed(settings.metrics, registry))
        role = Role(
            "worker",
            settings.slots,
            most_runs=settings.runs,
            digest_of=partial(data_check(settings, most_devices=None), store=store),
        )
        agent = LocalAgent(settings, role, store, registry)
        stack.push_async_callback(agent.close, settings.drain_seconds)
        await agent.start()
        gc.freeze()  # exempts long-lived objects from every later collection
        log.info("serving", name=settings.name, metrics=shown, store=store.url)
        metrics = {"metrics": shown} if shown else {}
        ready = {"service": "worker", "name": settings.name, **metrics}
        end = told(partial(print, json.dumps(ready), flush=True))
        await _until_done(agent, settings, asyncio.create_task(end))
        log.info("stopping", within_seconds=settings.drain_seconds)
    tracing.flush()
    if lost := agent.scheduler.lost_devices:
        raise Unavailable(f"{', '.join(sorted(lost))} does not answer any more")


async def _until_done(
    agent: LocalAgent, settings: WorkerSettings, told: asyncio.Task[None]
) -> None:
    """Waits until it is told to end, for the end of the last run, or for the end of the time
    without a run."""
    limit = settings.until_idle
    while not told.done():
        scheduler = agent.scheduler
        # Not `>=`: as long as it is not known to be idle, it has been for 0 s.
        if scheduler.is_done or (limit is not None and scheduler.idle_seconds > limit):
            break
        await asyncio.wait([told], timeout=_LOOK_SECONDS)
    told.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await told
