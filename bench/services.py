"""A live mentor process for the benchmarks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def mentor_process(*flags: str) -> Iterator[str]:
    """Starts `python -m mentor_service serve` on a free loopback port; yields its address."""
    command = [sys.executable, "-m", "mentor_service", "serve", "--listen", "127.0.0.1:0", *flags]
    command += ["--log-level", "warning"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"the mentor service ended with {process.wait()}")
        yield json.loads(line)["address"]
    finally:
        process.terminate()
        process.wait(10)
