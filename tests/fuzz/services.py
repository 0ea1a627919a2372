"""Both services as processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from tests.fuzz.methods import MENTOR, TRAINER

_ROOT = Path(__file__).parents[2]


class _Process:
    """One service; what it logs goes to a file."""

    def __init__(self, log: Path, module: str, *arguments: str) -> None:
        self.log = log
        with log.open("w") as file:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-X", "faulthandler", "-m", "tests.fuzz.confined"),
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
    def code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    def memory(self) -> int:
        """Resident bytes."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def stop(self) -> int:
        """The exit code."""
        self._process.terminate()
        code = self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code


class Services:
    """Trainer and mentor, from entering to leaving the block.

    Args:
        folder: Where logs, data and the store go.
        store: URL of an empty store; by default SQLite in the folder.
    """

    def __init__(self, folder: Path, store: str = "") -> None:
        self._folder = folder
        self._store = store or f"sqlite:///{folder}/runs.sqlite"
        self._running: dict[str, _Process] = {}
        self.codes: dict[str, int] = {}
        """Exit codes, once the block is left."""

    def __enter__(self) -> Services:
        mentor = _Process(self._folder / "mentor.log", "tests.support.scripted_mentor", "0")
        self._running[MENTOR] = mentor
        arguments = ("tests.fuzz.trainer", str(self._folder), mentor.address, self._store)
        try:
            self._running[TRAINER] = _Process(self._folder / "trainer.log", *arguments)
        except BaseException:
            mentor.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.codes = {name: process.stop() for name, process in self._running.items()}

    @property
    def addresses(self) -> dict[str, str]:
        return {name: process.address for name, process in self._running.items()}

    def dead(self) -> dict[str, int]:
        """The services that have ended, with their exit codes."""
        return {
            name: process.code
            for name, process in self._running.items()
            if process.code is not None
        }

    def memory(self) -> dict[str, int]:
        """Resident bytes of each."""
        return {name: process.memory() for name, process in self._running.items()}

    def tail(self, server: str) -> str:
        """The last that a service logged."""
        return self._running[server].log.read_text()[-4000:]
