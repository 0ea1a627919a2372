"""Where specs are run and killed, and what an undisturbed run of each case leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mentorgrad.domain.event import Created
from mentorgrad.domain.spec import RunSpec
from run_store.open import open_store
from tests.faults.cases import CASES, Kill, Outcome, outcome
from tests.faults.nursery import Nursery


class Grounds:
    """Runs specs in a nursery, all in one database.

    Args:
        nursery: Executes them.
        folder: For the database.
    """

    def __init__(self, nursery: Nursery, folder: Path) -> None:
        self._nursery = nursery
        self._folder = folder
        self._undisturbed: dict[str, Outcome] = {}

    def run(self, spec: RunSpec, kills: Sequence[Kill] = (), **more: Any) -> tuple[Any, str, str]:
        """(the nursery's report, the database's URL, the run's id)."""
        store = open_store(url := f"sqlite:///{self._folder}/runs.db")
        run, _ = store.create(Created(spec=spec))
        store.close()
        report = self._nursery.run(self._folder / "runs.db", run.run_id, kills, **more)
        return report, url, run.run_id

    def log(self) -> str:
        """What workers and services said."""
        return self._nursery.log.read_text()

    def undisturbed(self, case: str) -> Outcome:
        if case not in self._undisturbed:
            _, url, run_id = self.run(CASES[case])
            self._undisturbed[case] = outcome(url, run_id)
        return self._undisturbed[case]
