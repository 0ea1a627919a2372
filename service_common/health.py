"""Health service: reports SERVING while the dependencies that a service requires are available.

A task runs the check every few seconds. The state depends on the latest result only, so it is never
older than one round.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import Future
from typing import Any

import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mentorgrad.errors import MentorgradError, NotFound, ResourceExhausted

log = structlog.get_logger(__name__)

INTERVAL = 5.0
"""Seconds between two checks."""
TIMEOUT = 2.0
"""Timeout of a check, seconds."""

HealthCheck = Callable[[], Awaitable[Collection[str] | None]]
"""Raises `MentorgradError` if a required dependency is not available. `ResourceExhausted` counts as
available. Returns the names of services that lack something which the others do not need."""


async def always() -> None:
    """The check of a service without dependencies; always passes."""


def in_thread(check: Callable[[], Collection[str] | None]) -> HealthCheck:
    """Makes a blocking check asynchronous.

    Each check runs in its own daemon thread: a check that hangs must neither occupy a thread that
    calls need nor delay the process exit.
    """

    async def ask() -> Collection[str] | None:
        outcome: Future[Collection[str] | None] = Future()
        outcome.set_running_or_notify_cancel()  # the thread ends even if nobody waits any more

        def work() -> None:
            try:
                outcome.set_result(check())
            except Exception as error:
                outcome.set_exception(error)

        threading.Thread(target=work, name="health", daemon=True).start()
        return await asyncio.wrap_future(outcome)

    return ask


class HealthServicer(health_pb2_grpc.HealthServicer):
    """The standard gRPC health service.

    The library's own holds a lock while it writes to a watcher: one that does not read keeps the
    news from all others, and the server from stopping.

    Args:
        names: Full service names.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)
        self._serving = self._names
        self._changed = asyncio.Event()

    def set(self, serving: bool, absent: frozenset[str]) -> None:
        """Changes the states, and tells all watchers.

        Args:
            serving: Whether those that are not absent serve.
            absent: Names of services that do not.
        """
        self._serving = self._names - absent if serving else frozenset()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name on the wire
        """The state now."""
        if request.service not in self._names:
            raise NotFound("there is no service of this name here", reason="SERVICE_NOT_FOUND")
        return self._response(request.service)

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802
        """The state now, and after every change."""
        told = None
        while True:
            changed, response = self._changed, self._response(request.service)
            if response != told:
                await context.write(response)
                told = response
            await changed.wait()

    def _response(self, service: str) -> Any:
        response = health_pb2.HealthCheckResponse
        if service not in self._names:
            return response(status=response.SERVICE_UNKNOWN)
        is_here = service in self._serving
        return response(status=response.SERVING if is_here else response.NOT_SERVING)


class HealthReporter:
    """Updates the standard gRPC health service of one server. Bound to one event loop.

    Args:
        services: Full service names; all depend on the same check. The overall status, which has no
            name, is that of the check alone.
        check: Called every `INTERVAL` seconds.
        told: Callback for every change.
        timeout: Timeout of a check, seconds; a late check is awaited before the next one starts.
    """

    def __init__(
        self,
        services: Sequence[str],
        check: HealthCheck,
        told: Callable[[bool], None],
        *,
        timeout: float = TIMEOUT,
    ) -> None:
        self.servicer = HealthServicer(("", *services))
        self._check = check
        self._told = told
        self._timeout = timeout
        self._asking: asyncio.Future[Collection[str] | None] | None = None
        self._serving: bool | None = None
        self._absent: frozenset[str] = frozenset()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Runs the first check and starts the periodic ones."""
        await self._round()
        self._task = asyncio.create_task(self._run())

    async def drain(self) -> None:
        """Reports NOT_SERVING from now on and stops the checks."""
        task, self._task = self._task, None
        for pending in (task, self._asking):
            if pending is not None:
                pending.cancel()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)
        self._say(False, self._absent)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            await self._round()

    async def _round(self) -> None:
        trouble, absent = await self._ask()
        serving = not trouble
        if (serving, absent) == (self._serving, self._absent):
            return
        if absent - self._absent:
            log.warning("services_absent", services=sorted(absent))
        if trouble:
            log.error("not_serving", reason=trouble)
        elif self._serving is False:
            log.info("serving_again")
        self._say(serving, absent)

    def _say(self, serving: bool, absent: frozenset[str]) -> None:
        self._serving, self._absent = serving, absent
        self.servicer.set(serving, absent)
        self._told(serving)

    async def _ask(self) -> tuple[str, frozenset[str]]:
        """Runs the check; returns the error in one line, or an empty text, and the services that
        are absent."""
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._check())
        done, _ = await asyncio.wait({self._asking}, timeout=self._timeout)
        if not done:
            return f"no answer within {self._timeout:g} s", self._absent
        asked, self._asking = self._asking, None
        error = asked.exception()
        if error is None:
            return "", frozenset(asked.result() or ())
        if isinstance(error, ResourceExhausted):
            return "", self._absent
        if isinstance(error, MentorgradError):
            return error.message, self._absent
        log.error("health_check_failed", exc_info=error)
        return "internal error in the health check", self._absent
