"""A service as a process of its own, with bounded memory, that says where it listens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


class Child:
    """One service; what it logs goes to a file.

    Args:
        log: The file.
        module: What is run, as ``python -m`` would.
        arguments: Of the module.
    """

    def __init__(self, log: Path, module: str, *arguments: str) -> None:
        self.log = log
        with log.open("w") as file:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-X", "faulthandler", "-m", "campaigns.fuzz.confined"),
                    *(module, *arguments),
                ],
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                cwd=_ROOT,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, log.read_text()
        self.address: str = json.loads(line)["address"]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    def memory(self, entry: str = "VmRSS") -> int:
        """Resident bytes now, or the most so far (``VmHWM``)."""
        return int(self.status(entry).split()[0]) * 1024

    def processor_seconds(self) -> float:
        """Seconds of processor time that it has taken, in all its threads."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def status(self, entry: str) -> str:
        """An entry of the process's status, such as ``Threads``."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith(f"{entry}:"):
                return line.partition(":")[2]
        return "0"

    def open_files(self) -> int:
        """Number of its open files and sockets."""
        return len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))

    def stop(self) -> int:
        """The exit code."""
        self._process.terminate()
        code = self._process.wait(120)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code
