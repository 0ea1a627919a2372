"""Workers as child processes of the service: spawned, never forked, with one warm standby."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog

from mentorgrad.errors import MentorgradError, Unavailable
from trainer_service.job import WorkerJob
from trainer_service.report import Report, parse

log = structlog.get_logger(__name__)

STANDBY_DELAY = 10.0
"""Seconds from a run's start to that of the next standby, whose imports would hold the run up."""


Reported = Callable[[str, str, Report], None]
"""Takes what the worker of a run, on a device, reports."""


class LocalWorker:
    """A child process with a run."""

    def __init__(self, run_id: str, device: str, process: Process, reported: Reported) -> None:
        self.run_id = run_id
        self.device = device
        self.attempt: int | None = None
        self.pid = process.pid
        self._process = process
        self._reported = reported
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - asked for with PIPE
        async for line in self._process.stdout:
            # Libraries may print too; what is not ours is nobody's business.
            with contextlib.suppress(ValueError, TypeError, MentorgradError):
                self._take(json.loads(line))

    def _take(self, said: dict[str, Any]) -> None:
        if "claimed" in said:
            self.attempt = int(said["claimed"])
        elif "report" in said:
            self._reported(self.run_id, self.device, parse(said["report"]))

    async def wait(self) -> int:
        """See `WorkerHandle.wait`."""
        await asyncio.shield(self._reading)
        return await self._process.wait()

    def alive(self) -> bool:
        """See `WorkerHandle.alive`."""
        return self._process.returncode is None

    def terminate(self) -> None:
        """See `WorkerHandle.terminate`."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    def kill(self) -> None:
        """See `WorkerHandle.kill`."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()


class LocalExecutor:
    """Starts workers on this host.

    Args:
        make_job: (run id, device) → what the worker is told.
        threads: Threads that torch may use in a worker.
        warm: Whether one process waits with its imports done, which saves a run some seconds.
        reported: Takes what the workers report.
    """

    remote = False

    def __init__(
        self,
        make_job: Callable[[str, str], WorkerJob],
        *,
        threads: int,
        warm: bool = True,
        reported: Reported = lambda *_: None,
    ) -> None:
        self._make_job = make_job
        self._threads = threads
        self._warm = warm
        self._reported = reported
        self._standby: Process | None = None
        self._preparing: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Starts the standby, if there is to be one."""
        if self._warm and self._standby is None:
            self._standby = await self._spawn("--warm")

    async def start(self, run_id: str, device: str) -> LocalWorker:
        """See `Executor.start`."""
        await self._stop_preparing()
        process, self._standby = self._standby, None
        if process is None or process.returncode is not None:
            process = await self._spawn()
        assert process.stdin is not None  # noqa: S101 - asked for with PIPE
        try:
            job = replace(self._make_job(run_id, device), parent=os.getpid())
            process.stdin.write(job.to_line())
            await process.stdin.drain()
            process.stdin.close()
        except (BrokenPipeError, ConnectionResetError):
            log.warning("worker_died_waiting", run_id=run_id)
        self._preparing = asyncio.create_task(self._prepare_later())
        return LocalWorker(run_id, device, process, self._reported)

    async def _prepare_later(self) -> None:
        """The next standby; without one, the next run only starts more slowly."""
        await asyncio.sleep(STANDBY_DELAY)
        try:
            await self.prepare()
        except MentorgradError as error:
            log.warning("no_standby", error=error.message)

    async def _stop_preparing(self) -> None:
        task, self._preparing = self._preparing, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        """See `Executor.close`."""
        await self._stop_preparing()
        process, self._standby = self._standby, None
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.communicate()

    async def _spawn(self, *arguments: str) -> Process:
        environment = os.environ | {
            "OMP_NUM_THREADS": str(self._threads),
            "TOKENIZERS_PARALLELISM": "false",
            # A model that is not here is an error of the run, never a download.
            "HF_HUB_OFFLINE": "1",
        }
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "trainer_service.worker",
                *arguments,
                stdin=PIPE,
                stdout=PIPE,
                env=environment,
                # The terminal's Ctrl-C is for the service alone.
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(f"a worker cannot be started: {error}") from None
