"""Starts the further processes of a run, and ends them: they do not outlive its worker."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog

from mentorgrad.errors import MentorgradError
from mentorgrad.schema import bounded
from mentorgrad.serialization import from_dict, to_dict
from trainer_service.job import WorkerJob
from trainer_service.objectives.problem import Problem
from trainer_service.process_group.answering import Leader
from trainer_service.process_group.collectives import TorchCollectives

log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.05
_GRACE_SECONDS = 10.0
"""How long an ended group's processes may take to exit."""


@dataclass(frozen=True)
class MemberJob:
    """What a further process is told on its standard input, in one line of JSON."""

    number: int = bounded(1, ge=1, le=63)
    """Its number in the group; the worker's is 0."""
    size: int = bounded(2, ge=2, le=64)
    """Number of processes, the worker among them."""
    folder: str = bounded("", required=True)
    """Private folder of the group."""
    job: WorkerJob = field(default_factory=WorkerJob)
    """The worker's job, with this process's device."""

    def to_line(self) -> bytes:
        """The document as one line of JSON, including the newline."""
        return json.dumps(to_dict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> MemberJob:
        """The inverse of `to_line`."""
        return from_dict(cls, json.loads(line))

    @property
    def report(self) -> Path:
        """File that appears when the process has built its problem, or cannot: why, in one line,
        or nothing."""
        return Path(self.folder) / f"member-{self.number}"


class Members:
    """The further processes of one run.

    Args:
        job: The worker's job, which names their devices.
        on_lost: Called, from any thread, if one of them dies; ends this process, as nothing that it
            holds can go on.
    """

    def __init__(self, job: WorkerJob, on_lost: Callable[[], None]) -> None:
        self._job = job
        self._on_lost = on_lost
        self._folder = TemporaryDirectory("", "mentorgrad-group-", ignore_cleanup_errors=True)
        self._is_closing = False
        self._jobs = [
            MemberJob(
                number,
                1 + len(job.members),
                self._folder.name,
                replace(job, device=device, members=()),
            )
            for number, device in enumerate(job.members, start=1)
        ]
        self._processes = [self._start(member) for member in self._jobs]
        self._watchers = [
            threading.Thread(target=self._watch, args=pair, name="member", daemon=True)
            for pair in zip(self._jobs, self._processes, strict=True)
        ]
        for watcher in self._watchers:
            watcher.start()

    def __enter__(self) -> Members:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @staticmethod
    def _start(member: MemberJob) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "trainer_service.process_group.member"],
            stdin=subprocess.PIPE,
            stdout=2,  # standard error: the worker's standard output belongs to the service
        )
        assert process.stdin is not None  # noqa: S101 - asked for with PIPE
        with contextlib.suppress(BrokenPipeError):  # its death is noticed in any case
            process.stdin.write(member.to_line())
            process.stdin.flush()
        return process

    def _watch(self, member: MemberJob, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        if code and not self._is_closing:
            log.error("process_died", process=member.number, device=member.job.device, code=code)
            self._lost()

    def _lost(self) -> None:
        self._folder.cleanup()
        self._on_lost()

    def join(self, problem: Problem, check: Callable[[], None]) -> Leader:
        """Waits until all processes have built their problem, and leads them from then on.

        Args:
            problem: This process's problem.
            check: Called while waiting; may raise to abort.

        Raises:
            MentorgradError: A process could not build its problem.
        """
        for member in self._jobs:
            while not member.report.exists():
                check()
                time.sleep(_POLL_SECONDS)
            if why := member.report.read_text():
                raise MentorgradError(f"on {member.job.device}: {why}")
        size, folder = 1 + len(self._jobs), Path(self._folder.name)
        collectives = TorchCollectives(0, size, folder, problem.device, self._lost)

        def end() -> None:
            collectives.close()
            self.close()

        return Leader(problem, collectives, (self._job.device, *self._job.members), end)

    def close(self) -> None:
        """Ends the processes: each leaves when its standard input is closed."""
        self._is_closing = True
        for process in self._processes:
            assert process.stdin is not None  # noqa: S101 - asked for with PIPE
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        for watcher, process in zip(self._watchers, self._processes, strict=True):
            watcher.join(_GRACE_SECONDS)
            if watcher.is_alive():
                process.kill()
                watcher.join()
        self._folder.cleanup()
