"""Runs a module and notes when its event loop is late: ``watched.py FILE MODULE ...``

Every few milliseconds the loop of the main thread is due; each time it comes late is a line of the
file: the time of the monotonic clock, which all processes of a machine share, and three durations
in seconds: how late it is, and how much processor time its thread and its process have used
meanwhile. A loop that is late without them has waited for the machine.
"""

from __future__ import annotations

import asyncio
import runpy
import sys
import threading
import time
from pathlib import Path
from typing import IO, NamedTuple

TICK_SECONDS = 0.005
"""Time between two times that the loop is due."""

_LEAST = 0.001
"""Shorter delays are not noted, seconds."""


class Delay(NamedTuple):
    """The loop came late; times in seconds."""

    at: float
    """When it came, on the monotonic clock."""
    late: float
    """By how much."""
    loop: float
    """Processor time of its thread since it was last there, at most `late`."""
    process: float
    """That of all threads: another one may hold the interpreter. At most `late`."""


def read_delays(file: Path) -> list[Delay]:
    """What has been noted in a file so far, by time."""
    lines = file.read_text().splitlines()
    return [Delay(*map(float, line.split())) for line in lines]


class _Ticks:
    """Is due in a loop again and again."""

    def __init__(self, loop: asyncio.AbstractEventLoop, file: IO[str]) -> None:
        self._loop, self._file = loop, file
        self._note()

    def _note(self) -> None:
        self._thread, self._process = time.thread_time(), time.process_time()
        self._due = time.monotonic() + TICK_SECONDS
        self._next = self._loop.call_at(self._due, self._come)

    def _come(self) -> None:
        now = time.monotonic()
        if (late := now - self._due) > _LEAST:
            loop = min(late, time.thread_time() - self._thread)
            process = min(late, time.process_time() - self._process)
            self._file.write(f"{now:.6f} {late:.6f} {loop:.6f} {process:.6f}\n")
        self._note()

    def end(self) -> None:
        self._next.cancel()


def watch(file: IO[str]) -> None:
    """Watches the loops that will run in the main thread."""
    run_forever = asyncio.BaseEventLoop.run_forever

    def watched(loop: asyncio.BaseEventLoop) -> None:
        if threading.current_thread() is not threading.main_thread():
            return run_forever(loop)
        ticks = _Ticks(loop, file)
        try:
            run_forever(loop)
        finally:
            ticks.end()

    asyncio.BaseEventLoop.run_forever = watched  # type: ignore[method-assign]


if __name__ == "__main__":
    with Path(sys.argv[1]).open("w", buffering=1) as noted:
        watch(noted)
        del sys.argv[:2]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
