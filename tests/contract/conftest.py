"""The stores that the contract suites run over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from run_store.open import open_store
from run_store.protocols import RunStore
from trainer_service.baselines import compute

CHEAP = ("majority", "zero_shot")


class Opened:
    """A store that can be closed and opened again."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.store: RunStore = open_store(url)

    def reopen(self) -> RunStore:
        """What another process would see."""
        self.store.close()
        self.store = open_store(self.url)
        return self.store


POSTGRES = pytest.param("postgres", marks=pytest.mark.slow)
"""A real server, which `make quick` leaves to the full suite."""


@pytest.fixture(params=["sqlite", POSTGRES])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    """Each kind of store, empty."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/runs.db"
    else:
        url = request.getfixturevalue("postgres_store_url")
    found = Opened(url)
    yield found
    found.store.close()


@pytest.fixture
def cheap_baselines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves of a run's baselines those that are not computed in folds, of which each costs as much
    as a short run. `test_resume` has a run with all of them."""
    others = {name: made for name, made in compute.BASELINES.items() if name in CHEAP}
    monkeypatch.setattr(compute, "BASELINES", others)
