"""Health service: reports SERVING while the dependencies that a service requires are available.

A task runs the check every few seconds. The state depends on the latest result only, so it is never
older than one round.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future

import structlog
from grpc_health.v1 import health, health_pb2

from mentorgrad.errors import MentorgradError, ResourceExhausted

log = structlog.get_logger(__name__)

INTERVAL = 5.0
"""Seconds between two checks."""
TIMEOUT = 2.0
"""Timeout of a check, seconds."""

HealthCheck = Callable[[], Awaitable[None]]
"""Raises `MentorgradError` if a required dependency is not available. `ResourceExhausted` counts as
available."""


async def always() -> None:
    """The check of a service without dependencies; always passes."""


def in_thread(check: Callable[[], None]) -> HealthCheck:
    """Makes a blocking check asynchronous.

    Each check runs in its own daemon thread: a check that hangs must neither occupy a thread that
    calls need nor delay the process exit.
    """

    async def ask() -> None:
        outcome: Future[None] = Future()
        outcome.set_running_or_notify_cancel()  # the thread ends even if nobody waits any more

        def work() -> None:
            try:
                check()
            except Exception as error:
                outcome.set_exception(error)
            else:
                outcome.set_result(None)

        threading.Thread(target=work, name="health", daemon=True).start()
        await asyncio.wrap_future(outcome)

    return ask


class HealthReporter:
    """Updates the standard gRPC health service of one server. Bound to one event loop.

    Args:
        services: Full service names; all depend on the same check.
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
        self.servicer = health.aio.HealthServicer()
        self._names = ("", *services)
        self._check = check
        self._told = told
        self._timeout = timeout
        self._asking: asyncio.Future[None] | None = None
        self._serving: bool | None = None
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
        await self.servicer.enter_graceful_shutdown()
        self._told(False)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            await self._round()

    async def _round(self) -> None:
        trouble = await self._ask()
        serving = not trouble
        if serving is self._serving:
            return
        if trouble:
            log.error("not_serving", reason=trouble)
        elif self._serving is not None:
            log.info("serving_again")
        self._serving = serving
        states = health_pb2.HealthCheckResponse
        for name in self._names:
            await self.servicer.set(name, states.SERVING if serving else states.NOT_SERVING)
        self._told(serving)

    async def _ask(self) -> str:
        """Runs the check; returns the error in one line, or an empty text."""
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._check())
        done, _ = await asyncio.wait({self._asking}, timeout=self._timeout)
        if not done:
            return f"no answer within {self._timeout:g} s"
        asked, self._asking = self._asking, None
        error = asked.exception()
        if error is None or isinstance(error, ResourceExhausted):
            return ""
        if isinstance(error, MentorgradError):
            return error.message
        log.error("health_check_failed", exc_info=error)
        return "internal error in the health check"
