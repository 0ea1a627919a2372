"""Starts workers as child processes of the service: spawned, never forked, with one warm standby.

A process may execute several runs in sequence, which saves the imports (some seconds of CPU time)
for each further run. Every run seeds its random numbers anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog

from mentorgrad.domain.run import DesiredState
from mentorgrad.errors import MentorgradError, Unavailable
from mentorgrad.serialization import from_dict
from run_store.protocols import Lease
from trainer_service.agent_word import AgentWord
from trainer_service.job import WorkerJob
from trainer_service.worker_metrics import WorkerMetrics

log = structlog.get_logger(__name__)

STANDBY_DELAY = 10.0
"""Seconds from a run's start to the start of the next standby, whose imports would delay the
run."""


IDLE_SECONDS = 20.0
"""How long an idle process waits for another run."""
SILENT_SECONDS = 10.0
"""Time without a line of a worker, which reports every second, after which it is taken for hung."""

Reported = Callable[[str, Sequence[str], WorkerMetrics], None]
"""Called with run id, devices and report for each report of a worker."""
MakeJob = Callable[[Lease, Sequence[str]], WorkerJob]
"""(claimed run, devices) → the job document of the worker."""


class LocalWorker:
    """A child process that executes a run; the handle lasts until the run has ended.

    Args:
        lease: The claimed run.
        devices: The torch devices of the run's processes.
        process: The child process, which has been sent its job.
        reported: Called with each report.
        released: Called when the run has ended and the process can take another one; None: the
            process exits after this run.
    """

    def __init__(
        self,
        lease: Lease,
        devices: Sequence[str],
        process: Process,
        reported: Reported,
        released: Callable[[], None] | None = None,
    ) -> None:
        self.run_id = lease.run_id
        self.attempt = lease.attempt
        self.devices = tuple(devices)
        self.has_begun = False
        self.pid = process.pid
        self._process = process
        self._reported = reported
        self._released = released
        self._code: int | None = None
        self._heard_at = time.monotonic()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        """Reads the worker's output until this run has ended; later lines belong to the next
        run."""
        assert self._process.stdout is not None  # noqa: S101 - asked for with PIPE
        async for line in self._process.stdout:
            self._heard_at = time.monotonic()
            # Libraries may print to stdout too; other lines are ignored.
            with contextlib.suppress(ValueError, TypeError, MentorgradError):
                self._take(json.loads(line))
            if self._code is not None and self._released is not None:
                self._released()
                return

    def _take(self, said: dict[str, Any]) -> None:
        if "begun" in said:
            self.has_begun = True
        elif "report" in said:
            self._reported(self.run_id, self.devices, from_dict(WorkerMetrics, said["report"]))
        elif "ended" in said and self._released is not None:
            self._code = int(said["ended"])
        elif "ended" in said and self._process.stdin is not None:
            self._process.stdin.close()  # it waits for a job, and exits

    async def wait(self) -> int:
        """See `WorkerHandle.wait`."""
        await asyncio.shield(self._reading)
        return await self._process.wait() if self._code is None else self._code

    def alive(self) -> bool:
        """See `WorkerHandle.alive`."""
        return self._code is None and self._process.returncode is None

    def is_silent(self) -> bool:
        """See `WorkerHandle.is_silent`."""
        return self.has_begun and time.monotonic() - self._heard_at > SILENT_SECONDS

    def tell(self, desired: DesiredState) -> None:
        """See `WorkerHandle.tell`."""
        pipe = self._process.stdin
        if pipe is None or pipe.is_closing() or not self.alive():
            return
        if pipe.transport.get_write_buffer_size():
            return  # it does not read
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            pipe.write(AgentWord(self.run_id, self.attempt, desired).to_line())

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


@dataclass(frozen=True, eq=False)
class _Idle:
    """An idle process between two runs."""

    device: str
    """The device of its previous runs."""
    process: Process
    """The child process."""
    runs: int
    """Number of runs executed so far."""


def worker_environment(threads: int) -> dict[str, str]:
    """Environment variables of a worker.

    Args:
        threads: Number of torch threads.
    """
    # By default, the threads of torch spin while they wait for one whose core another process has,
    # such as a mentor or a second worker: two threads of which one shared its core took twice as
    # long. Alone, they are as fast either way.
    return (
        {"OMP_WAIT_POLICY": "passive"}
        | os.environ
        | {
            "OMP_NUM_THREADS": str(threads),
            "TOKENIZERS_PARALLELISM": "false",
            # A model that is not present locally is an error, never a download.
            "HF_HUB_OFFLINE": "1",
        }
    )


class LocalExecutor:
    """Starts workers on this host.

    Args:
        make_job: Makes the job document of a worker.
        threads: Number of torch threads per worker.
        warm: Whether to keep a standby process with its imports done, which starts a run some
            seconds sooner.
        runs_each: Maximum number of runs per process.
        reported: Called with each report of a worker.
    """

    def __init__(
        self,
        make_job: MakeJob,
        *,
        threads: int,
        warm: bool = True,
        runs_each: int = 1,
        reported: Reported = lambda *_: None,
    ) -> None:
        self._make_job = make_job
        self._threads = threads
        self._warm = warm
        self._runs_each = runs_each
        self._idle: list[_Idle] = []
        self._retiring: set[asyncio.Task[int]] = set()
        self._closing = False
        self._reported = reported
        self._standby: Process | None = None
        self._preparing: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Starts the standby process, if enabled and not started yet."""
        if self._warm and self._standby is None:
            self._standby = await self._spawn("--warm")

    async def start(self, lease: Lease, devices: Sequence[str]) -> LocalWorker:
        """See `Executor.start`."""
        await self._stop_preparing()
        process, runs = self._take_idle(devices[0])
        if process is None:
            process, self._standby = self._standby, None
        if process is None or process.returncode is not None:
            process, runs = await self._spawn(), 0
        is_last = runs + 1 >= self._runs_each
        assert process.stdin is not None  # noqa: S101 - asked for with PIPE
        try:
            job = replace(self._make_job(lease, devices), parent=os.getpid())
            process.stdin.write(job.to_line())
            await process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            log.warning("worker_died_waiting", run_id=lease.run_id)
        self._preparing = asyncio.create_task(self._prepare_later())
        released = None if is_last else partial(self._release, _Idle(devices[0], process, runs + 1))
        return LocalWorker(lease, devices, process, self._reported, released)

    # -- processes between two runs -----------------------------------------------------------

    def _take_idle(self, device: str) -> tuple[Process | None, int]:
        """An idle process of this device and the number of its runs. Processes of other devices
        are not reused: they would keep memory on their first device."""
        for idle in reversed(self._idle):
            if idle.device == device and idle.process.returncode is None:
                self._idle.remove(idle)
                return idle.process, idle.runs
        return None, 0

    def _release(self, idle: _Idle) -> None:
        """Keeps a process for another run, for `IDLE_SECONDS`."""
        self._idle.append(idle)
        wait = 0.0 if self._closing else IDLE_SECONDS
        asyncio.get_running_loop().call_later(wait, self._give_up, idle)

    def _give_up(self, idle: _Idle) -> None:
        """Ends an idle process by closing its standard input."""
        if idle not in self._idle:
            return
        self._idle.remove(idle)
        if idle.process.stdin is not None:
            idle.process.stdin.close()
        task = asyncio.ensure_future(idle.process.wait())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _prepare_later(self) -> None:
        """Starts the next standby after a delay. If this fails, the next run starts more slowly."""
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
        self._closing = True
        await self._stop_preparing()
        for idle in list(self._idle):
            self._give_up(idle)
        if self._retiring:
            await asyncio.wait(self._retiring)
        process, self._standby = self._standby, None
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.communicate()

    async def _spawn(self, *arguments: str) -> Process:
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "trainer_service.worker",
                *arguments,
                stdin=PIPE,
                stdout=PIPE,
                env=worker_environment(self._threads),
                # Ctrl-C in a terminal must reach the service only.
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(f"a worker cannot be started: {error}") from None
