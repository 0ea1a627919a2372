"""Starts the services as child processes, waits for them and always stops them."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any, Self

from mentorgrad import parent_process
from mentorgrad.cli.support.output import shorten
from mentorgrad.errors import Unavailable

_STOP_SECONDS = 10.0
"""Seconds that a service has to shut down before it is killed."""


def cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def divide_cores(total: int) -> tuple[int, int]:
    """Number of threads for the mentor and for the worker.

    llama.cpp's threads busy-wait, so both together must not exceed the number of cores.
    """
    mentor = max(1, total // 2)
    return mentor, max(1, total - mentor)


@dataclass(frozen=True)
class Service:
    """A service that runs as a child process."""

    name: str
    """``trainer``, ``mentor`` or ``ui``."""
    process: subprocess.Popen[str]
    """The child process."""
    log: Path | None
    """File for its standard error; None: inherited."""
    lines: queue.SimpleQueue[str | None]
    """Lines of its standard output; None at end of file."""

    def why_dead(self) -> str:
        """Exit code and last log line of an ended child process."""
        said = ""
        if self.log is not None and self.log.is_file():
            text = self.log.read_text(encoding="utf-8", errors="replace").strip()
            said = text.splitlines()[-1] if text else ""
        code = self.process.returncode
        return f"exit code {code}" + (f": {shorten(said, 300)}" if said else "")


class Services:
    """Starts services, and stops them when the block exits: normally, on an error, on Ctrl-C or on
    SIGTERM. The terminal's Ctrl-C does not reach the child processes; the parent stops them. If the
    parent is killed, they stop by themselves (`parent_process`).
    """

    def __init__(self) -> None:
        self._running: list[Service] = []
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, _leave)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def start(
        self,
        name: str,
        arguments: Sequence[str],
        threads: int | None,
        log: Path | None = None,
        timeout: float = 120.0,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Starts ``python -m NAME_service serve`` and waits until it serves.

        Args:
            name: ``trainer``, ``mentor`` or ``ui``.
            arguments: Flags of its `serve` command; visible to all users of the machine.
            threads: Threads that its numerical libraries may use; None: not set.
            log: File for its standard error; None: inherited.
            timeout: Seconds to wait.
            environment: Additional environment variables, for values that must not be visible.

        Returns:
            Its address.

        Raises:
            Unavailable: It did not start; the message contains its last log line.
        """
        command = [sys.executable, "-m", f"{name}_service", "serve", *arguments]
        limits = {"OMP_NUM_THREADS": str(threads)} if threads is not None else {}
        stderr = log.open("w", encoding="utf-8") if log is not None else None
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={
                    **os.environ,
                    "PYTHONUNBUFFERED": "1",
                    **parent_process.environment(),
                    **limits,
                    **(environment or {}),
                },
                text=True,
                start_new_session=True,
            )
        finally:
            if stderr is not None:
                stderr.close()
        service = Service(name, process, log, queue.SimpleQueue())
        self._running.append(service)
        reader = threading.Thread(target=_drain, args=(process.stdout, service.lines), daemon=True)
        reader.start()
        return _address(service, timeout)

    def wait(self) -> None:
        """Never returns; raises an error when a service exits.

        Raises:
            Unavailable: A service exited.
        """
        while True:
            for service in self._running:
                if service.process.poll() is not None:
                    raise Unavailable(f"the {service.name} service exited: {service.why_dead()}")
            time.sleep(0.2)

    def stop(self) -> None:
        """Stops all services, the last started first, and kills those that do not stop."""
        running, self._running = self._running[::-1], []
        for service in running:
            if service.process.poll() is None:
                service.process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for service in running:
            try:
                service.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                service.process.kill()
                service.process.wait()


def _drain(stream: IO[str] | None, lines: queue.SimpleQueue[str | None]) -> None:
    if stream is not None:
        with stream:
            for line in stream:
                lines.put(line)
    lines.put(None)


def _address(service: Service, timeout: float) -> str:
    """The address in the JSON line that a service prints when it is ready."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            line = service.lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise Unavailable(
                f"the {service.name} service did not start within {timeout:.0f} s"
            ) from None
        if line is None:
            service.process.wait()
            raise Unavailable(f"the {service.name} service did not start: {service.why_dead()}")
        try:
            said = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(said, dict) and said.get("service") == service.name:
            return str(said["address"])


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
