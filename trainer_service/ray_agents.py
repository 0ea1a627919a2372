"""Agents on the nodes of a Ray cluster: ``mentorgrad serve worker --ray``.

Ray gives each agent its share of a node, and starts it there. All else is as with an agent of one's
own: it claims runs from the store, and nothing of a run passes through Ray. This process has a new
agent started for one that was lost with its node; when it ends, the agents drain.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import itertools
import json
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from mentorgrad.errors import MentorgradError, Unavailable, Unsupported
from mentorgrad.installed import pip_line
from service_common import logs
from service_common.server import wait_for_signal
from service_common.settings import load
from trainer_service.agent.settings import WorkerSettings
from trainer_service.worker_service import serve

log = structlog.get_logger(__name__)

AGAIN_SECONDS = 5.0
"""Time from the loss of an agent to the start of another."""
_SPARE_SECONDS = 5.0
"""Time beyond its grace period after which an agent that does not end is killed."""


class RayAgent:
    """An agent in a process of Ray. Its methods run on one event loop."""

    def __init__(self) -> None:
        self._stopped = asyncio.Event()

    async def host(self) -> str:
        """Name of the machine."""
        return socket.gethostname()

    async def run(self, given: dict[str, Any]) -> MentorgradError | None:
        """Claims and executes runs until it is stopped or has nothing left to do.

        Args:
            given: Its settings; for others, the environment of its node counts.

        Returns:
            The error that ended it, which Ray would wrap if it were raised; else None.
        """
        try:
            await serve(load(WorkerSettings, None, given), self._told)
        except MentorgradError as error:
            return error
        return None

    async def stop(self) -> None:
        """Has it drain and end."""
        self._stopped.set()

    async def _told(self, ready: Callable[[], None]) -> None:
        ready()
        await self._stopped.wait()


class RayAgents:
    """Keeps a number of agents on a cluster. For one event loop.

    Args:
        ray: The package, connected to the cluster.
        settings: Those of each agent, their number, and their share of a node.
    """

    def __init__(self, ray: Any, settings: WorkerSettings) -> None:
        self._ray = ray
        self._settings = settings
        self._class = ray.remote(RayAgent).options(
            num_cpus=settings.ray_cpus, num_gpus=settings.ray_gpus
        )
        self._numbers = itertools.count(1)
        self._begun: dict[Any, bool] = {}
        self._leaving = asyncio.Event()

    async def keep(self, ready: Callable[[], None] = lambda: None) -> None:
        """Has agents until all have nothing left to do, or until SIGINT or SIGTERM.

        Args:
            ready: Called once a signal would be handled.

        Raises:
            MentorgradError: An agent cannot serve, and another one could not either.
        """
        keepers = [asyncio.create_task(self._keep()) for _ in range(self._settings.ray_workers)]
        all_ended = asyncio.gather(*keepers)
        told = asyncio.create_task(wait_for_signal(ready))
        either: list[asyncio.Future[Any]] = [told, all_ended]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        self._leaving.set()
        for actor, has_begun in self._begun.items():
            if has_begun:
                actor.stop.remote()
            else:  # there was no room for it
                self._ray.kill(actor)
        await asyncio.wait(keepers, timeout=self._settings.drain_seconds + _SPARE_SECONDS)
        for actor in self._begun:
            self._ray.kill(actor)
        await all_ended

    async def _keep(self) -> None:
        """Has one agent, and another one for one that was lost."""
        while not self._leaving.is_set():
            try:
                error = await self._one()
            except self._ray.exceptions.RayActorError as lost:
                if self._leaving.is_set():
                    return
                log.warning("ray_agent_lost", error=str(lost).partition("\n")[0])
            else:
                if error is None:
                    return
                if not error.retryable:
                    raise error
                log.warning("ray_agent_ended", error=error.message)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), AGAIN_SECONDS)

    async def _one(self) -> MentorgradError | None:
        """Starts an agent, as soon as a node has room for it, and waits for its end."""
        actor = self._class.remote()
        self._begun[actor] = False
        try:
            host = await actor.host.remote()
            self._begun[actor] = True
            log.info("ray_agent_started", host=host)
            found: MentorgradError | None = await actor.run.remote(
                of_one(self._settings, next(self._numbers))
            )
            return found
        finally:
            del self._begun[actor]
            self._ray.kill(actor)


def of_one(settings: WorkerSettings, number: int) -> dict[str, Any]:
    """The settings of one agent: those that were given. Its node decides about the others, such as
    the folder of the cache.

    Args:
        settings: Those of all.
        number: Its number; no two agents have one.
    """
    given = settings.model_dump(exclude_unset=True)
    given = {k: v.absolute() if isinstance(v, Path) else v for k, v in given.items()}
    given.setdefault("threads", max(settings.ray_cpus // settings.slots, 1))
    if "name" in given:
        given["name"] += f"-{number}"
    if not settings.ray_gpus:  # Ray hides no GPU from a process that has no share of one
        given["device"] = "cpu"
    return given


async def serve_on_ray(settings: WorkerSettings) -> None:
    """Has agents on the cluster that ``RAY_ADDRESS`` names, or this machine is part of.

    Args:
        settings: Read once, at start.

    Raises:
        Unsupported: Ray is not installed.
        Unavailable: There is no cluster.
        MentorgradError: As `RayAgents.keep`.
    """
    logs.configure(settings.log_level, settings.log_format)
    try:
        ray = importlib.import_module("ray")
    except ModuleNotFoundError:
        needs = f"--ray needs Ray; run: {pip_line('trainer,postgres,ray')}"
        raise Unsupported(needs, reason="MISSING_EXTRA") from None
    try:
        ray.init(address="auto", log_to_driver=False)
    except ConnectionError:
        raise Unavailable("there is no Ray cluster; set RAY_ADDRESS to one") from None
    ready = {"service": "worker", "ray_workers": settings.ray_workers}
    try:
        await RayAgents(ray, settings).keep(partial(print, json.dumps(ready), flush=True))
    finally:
        ray.shutdown()
