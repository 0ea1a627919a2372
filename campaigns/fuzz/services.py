"""All services as processes of their own."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from campaigns.fuzz.methods import MENTOR, PREDICTOR, TRAINER
from campaigns.loop_hold.watched import Delay, read_delays
from tests.support.child import Child


class Services:
    """Trainer, mentor and predictor, from entering to leaving the block.

    Args:
        folder: Where logs, data and the store go.
        store: URL of an empty store; by default SQLite in the folder.
        has_model: Whether the predict service has a model, which takes seconds to load; otherwise a
            stand-in.
        watched: Whether the delays of each service's event loop are noted.
    """

    def __init__(
        self, folder: Path, store: str = "", *, has_model: bool = False, watched: bool = False
    ) -> None:
        self._folder = folder
        self._watched = watched
        self._predictor = (
            ("campaigns.fuzz.predictor", str(folder))
            if has_model
            else ("tests.support.told_predictor",)
        )
        self._store = store or f"sqlite:///{folder}/runs.sqlite"
        self._running: dict[str, Child] = {}
        self.codes: dict[str, int] = {}
        """Exit codes, once the block is left."""

    def __enter__(self) -> Services:
        mentor = self._start(MENTOR, "tests.support.scripted_mentor", "0")
        arguments = ("campaigns.fuzz.trainer", str(self._folder), mentor.address, self._store)
        try:
            self._start(TRAINER, *arguments)
            self._start(PREDICTOR, *self._predictor)
        except BaseException:
            for process in self._running.values():
                process.stop()
            raise
        return self

    def _start(self, server: str, *command: str) -> Child:
        if self._watched:
            command = ("campaigns.loop_hold.watched", str(self._delays(server)), *command)
        self._running[server] = Child(self._folder / f"{server}.log", *command)
        return self._running[server]

    def _delays(self, server: str) -> Path:
        return self._folder / f"{server}.delays"

    def delays(self, server: str) -> list[Delay]:
        """When the loop of a service that is watched was late so far."""
        return read_delays(self._delays(server))

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
