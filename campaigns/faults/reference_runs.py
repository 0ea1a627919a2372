"""Where specs are run and killed, and what an undisturbed run of each leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from campaigns.faults.fork_server import ForkServer
from campaigns.faults.kill_cases import Kill, Outcome, outcome
from mentorgrad.domain.event import Created
from mentorgrad.domain.spec import RunSpec
from run_store.open import open_store


class ReferenceRuns:
    """Runs specs in a fork server, all in one database.

    Args:
        fork_server: Executes them.
        folder: For the database.
    """

    def __init__(self, fork_server: ForkServer, folder: Path) -> None:
        self._nursery = fork_server
        self._folder = folder
        self._undisturbed: dict[str, Outcome] = {}

    def run(self, spec: RunSpec, kills: Sequence[Kill] = (), **more: Any) -> tuple[Any, str, str]:
        """(the fork server's report, the database's URL, the run's id)."""
        store = open_store(url := f"sqlite:///{self._folder}/runs.db")
        run, _ = store.create(Created(spec=spec))
        store.close()
        report = self._nursery.run(self._folder / "runs.db", run.run_id, kills, **more)
        return report, url, run.run_id

    def log(self) -> str:
        """What workers and services said."""
        return self._nursery.log.read_text()

    def undisturbed(self, spec: RunSpec) -> Outcome:
        """What a run of that spec leaves when nothing befalls it; executed once."""
        key = repr(spec)
        if key not in self._undisturbed:
            _, url, run_id = self.run(spec)
            self._undisturbed[key] = outcome(url, run_id)
        return self._undisturbed[key]
