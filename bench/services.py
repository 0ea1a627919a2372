"""Starts services and peers for the benchmarks, each in its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def announced(command: list[str]) -> Iterator[dict[str, Any]]:
    """Starts a process that prints one JSON line when ready; yields the line, with its `pid`, then
    stops it."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(command[:3])} ended with {process.wait()}")
        yield {"pid": process.pid, **json.loads(line)}
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def mentor_process(*flags: str) -> Iterator[str]:
    """`python -m mentor_service serve` on a free loopback port; yields its address."""
    command = ["-m", "mentor_service", "serve", "--listen", "127.0.0.1:0", *flags]
    with announced([*command, "--log-level", "warning"]) as said:
        yield said["address"]


@contextmanager
def scripted_mentor(latency: float) -> Iterator[str]:
    """A mentor with scripted answers after `latency` seconds; yields its address."""
    with announced(["-m", "tests.support.scripted_mentor", "0", str(latency)]) as said:
        yield said["address"]
