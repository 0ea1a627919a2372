"""How much of a large run is in memory at once: little, whoever asks for it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.domain.event import Created, Finished, Segment, StateChanged
from mentorgrad.domain.query import TrajectoryQuery
from mentorgrad.domain.run import Candidate, RunResult, RunState, Snapshot
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput
from run_store import invariants, paging, trajectory
from run_store.open import open_store
from run_store.protocols import RunStore
from tests.support.event_maker import EventMaker

EVENTS, CHARACTERS = 40, 500_000
BOUND = 6 * paging.EVENTS_BYTES + 16 * CHARACTERS
"""A page as rows and as objects, and the few rows that the database hands over at once."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunStore]:
    """A run of 20 MB, in 40 segments."""
    folder: Path = tmp_path_factory.mktemp("large")
    opened = open_store(f"sqlite:///{folder}/runs.sqlite")
    make = EventMaker("large")
    log = [make(Created(RunSpec())), make(StateChanged(RunState.RUNNING), attempt=1)]
    for step in range(EVENTS):
        snapshot = Snapshot(step + 1, text="x" * CHARACTERS)
        log.append(make(Segment(0, step + 1, step + 1, (snapshot,))))
    log.append(make(Finished(RunState.SUCCEEDED)))
    opened.import_run(log)
    yield opened
    opened.close()


def peak(action: Any) -> int:
    """Most bytes that Python's objects took meanwhile."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def drained(items: Any) -> None:
    for _ in items:
        pass


def test_events_are_read_in_pages_bounded_by_size(store: RunStore) -> None:
    assert peak(lambda: drained(store.events("large"))) < BOUND


@pytest.mark.slow
def test_a_thinned_trajectory_is_not_held_whole(store: RunStore) -> None:
    for query in (TrajectoryQuery(2), TrajectoryQuery(39), TrajectoryQuery(first_step=1)):
        assert peak(lambda query=query: drained(trajectory.pieces(store, "large", query))) < BOUND


def test_a_run_whose_result_is_huge_is_not_imported(store: RunStore) -> None:
    """Every listing would carry it."""
    make = EventMaker("huge")
    parents = ("p" * 1_000,) * (invariants.MAX_RUN_BYTES // 1_000)
    result = RunResult(Candidate(parents=parents))
    log = [
        make(Created(RunSpec())),
        make(StateChanged(RunState.RUNNING), attempt=1),
        make(Finished(RunState.SUCCEEDED, result)),
    ]
    with pytest.raises(InvalidInput, match="spec and result of at most"):
        store.import_run(log)
