"""Health that is true: a service is SERVING while what it cannot do without answers.

A task asks every few seconds. One answer decides: there is no memory of earlier ones, so the state
is never older than one round.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Sequence

import structlog
from grpc_health.v1 import health, health_pb2

from mentorgrad.errors import MentorgradError, ResourceExhausted

log = structlog.get_logger(__name__)

INTERVAL = 5.0
"""Seconds between two questions."""
TIMEOUT = 2.0
"""Seconds that an answer may take."""

HealthCheck = Callable[[], Awaitable[None]]
"""Raises `MentorgradError` when what a service needs does not answer. `ResourceExhausted` is an
answer."""


async def always() -> None:
    """The check of a service that needs nothing."""


def in_thread(check: Callable[[], None]) -> HealthCheck:
    """A check that blocks, as one that does not.

    It gets a daemon thread of its own: a check that hangs must neither take a thread from the calls
    nor hold up the process's end.
    """

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[None] = loop.create_future()

        def settle(error: Exception | None) -> None:
            if outcome.cancelled():
                return
            if error is None:
                outcome.set_result(None)
            else:
                outcome.set_exception(error)

        def work() -> None:
            found: Exception | None = None
            try:
                check()
            except Exception as error:
                found = error
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(settle, found)

        threading.Thread(target=work, name="health", daemon=True).start()
        await outcome

    return ask


class HealthReporter:
    """The standard health service of one server, kept true. Lives on one event loop.

    Args:
        services: Full names; all of them depend on the same check.
        check: Asked every `INTERVAL` seconds.
        told: Told of every change.
        timeout: Seconds that an answer may take; the next question waits for a late one.
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
        """Asks for the first time, and goes on asking."""
        await self._round()
        self._task = asyncio.create_task(self._run())

    async def drain(self) -> None:
        """Says NOT_SERVING from now on, whatever is answered."""
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
        """What is wrong, in one line; empty: nothing."""
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
        return "the check failed"
