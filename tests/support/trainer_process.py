"""A real trainer service in a process of its own, for tests."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

_REUSING = """
import runpy
from trainer_service.agent import local_executor

local_executor.IDLE_SECONDS = 3600.0
runpy.run_module("trainer_service", run_name="__main__", alter_sys=True)
"""


class TrainerProcess:
    """``python -m trainer_service serve`` on a free port.

    Args:
        folder: Where its store, cache and log go.
        arguments: More flags.
        store: URL of its store, told by the environment, as one with a password should be; empty:
            SQLite in the folder.
        reuse: Whether a worker process executes all runs, however long it is idle between two;
            the imports of each further one would take seconds of a core.
    """

    def __init__(self, folder: Path, *arguments: str, store: str = "", reuse: bool = False) -> None:
        self.store = store or f"sqlite:///{folder}/runs.sqlite"
        self.log = folder / "trainer.log"
        command = [
            *(sys.executable, *(("-c", _REUSING) if reuse else ("-m", "trainer_service"))),
            *("serve", "--listen", "127.0.0.1:0"),
            *("--cache-dir", str(folder / "cache"), "--threads", "1"),
            *(("--runs-per-worker", "1000") if reuse else ()),
            *arguments,
        ]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                env=os.environ | {"MENTORGRAD_TRAINER_STORE": self.store},
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        said = json.loads(line)
        self.address: str = said["address"]
        self.metrics: str = said.get("metrics", "")

    def children(self) -> list[int]:
        """Process ids of its workers, the standby included."""
        return children_of(self.process.pid)

    def worker(self) -> int:
        """Process id of its only child, once that is there: a run is claimed before its worker is
        started."""
        eventually(lambda: bool(self.children()), "a worker")
        (pid,) = self.children()
        return pid

    def halt_worker(self) -> None:
        """SIGSTOP to its only child, when that is not writing: all other writers would wait for
        it. For a store in SQLite."""
        pid = self.worker()
        file = self.store.removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(file, 0.1, isolation_level=None)) as store:
            while True:
                os.kill(pid, signal.SIGSTOP)
                try:
                    store.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError:
                    os.kill(pid, signal.SIGCONT)
                else:
                    store.execute("ROLLBACK")
                    return

    def kill_worker(self) -> None:
        """SIGKILL to its only child."""
        os.kill(self.worker(), signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(120)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def kill(self) -> None:
        """SIGKILL; its workers find out by themselves."""
        self.process.kill()
        self.stop()


def command_line(pid: int) -> bytes:
    """What everybody on the host can read of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def eventually(condition: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
    """Waits for a condition that must come true; the time is no part of any assertion."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)


def children_of(pid: int) -> list[int]:
    """Process ids of the children of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that has ended meanwhile
            found += map(int, (task / "children").read_text().split())
    return found
