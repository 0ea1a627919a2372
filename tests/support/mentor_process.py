"""A scripted mentor service in a process of its own, for tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

_SCRIPTED_MENTOR = Path(__file__).parent / "scripted_mentor.py"


class MentorProcess:
    """A scripted mentor service in a process of its own."""

    def __init__(self, port: int, delay: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(_SCRIPTED_MENTOR), str(port), str(delay)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        said = json.loads(line)
        self.address: str = said["address"]
        self.metrics: str = said.get("metrics", "")
        self.port = int(self.address.rpartition(":")[2])

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """At once, as a crash does."""
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
        self.process.wait(120)
        if self.process.stdout is not None:
            self.process.stdout.close()
