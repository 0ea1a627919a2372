"""A part of a trajectory is what one would choose from the whole, however its run was recorded."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mentorgrad.domain.event import CheckpointSaved, Created, EventKind, Finished, Resumed, Segment
from mentorgrad.domain.query import EventQuery, Thinning, View
from mentorgrad.domain.run import RunState, Snapshot, Trajectory
from mentorgrad.domain.spec import RunSpec
from run_store import snapshot_blocks, sql_blocks
from run_store.protocols import RunStore
from tests.contract.conftest import Opened
from tests.support.event_maker import EventMaker

MINUTE = timedelta(minutes=1)
LOSSES = [math.nan, math.inf, -math.inf, 0.0, 1.0, 1.0, 2.0, 3.0]

snapshots = st.lists(
    st.builds(
        Snapshot,
        step=st.integers(1, 30),
        train_loss=st.sampled_from(LOSSES),
        text=st.sampled_from(["", "word", "w" * 300]),
    ),
    max_size=12,
)
recorded = st.tuples(st.just("segment"), st.integers(0, 2), snapshots)
actions = st.lists(
    st.one_of(
        *[recorded] * 6,
        st.tuples(st.just("checkpoint")),
        # Which event, and whether the new attempt records segments before it says so.
        st.tuples(st.just("resume"), st.integers(0, 100), st.booleans()),
        st.tuples(st.just("forget")),
    ),
    max_size=14,
)
questions = st.tuples(
    st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.sampled_from(Thinning)
)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few snapshots fill several rows of every kind."""
    monkeypatch.setattr(snapshot_blocks, "BLOCK_SNAPSHOTS", 5)
    monkeypatch.setattr(snapshot_blocks, "BLOCK_BYTES", 512)
    monkeypatch.setattr(snapshot_blocks, "LARGE_SEGMENT", 1024)
    monkeypatch.setattr(snapshot_blocks, "PER_SUMMARY", 3)


class Recorded:
    """A run whose recording is interrupted and resumed at will."""

    def __init__(self, store: RunStore) -> None:
        self.store = store
        run, _ = store.create(Created(RunSpec()))
        self.run_id = run.run_id
        self._claim()

    def _claim(self) -> None:
        lease = self.store.claim(self.run_id, "worker", MINUTE)
        self.make = EventMaker(self.run_id, lease.last_seq, lease.attempt)

    def put(self, *payloads: Any) -> None:
        self.store.append(self.run_id, self.make.attempt, [self.make(item) for item in payloads])

    def segment(self, stage: int, found: list[Snapshot]) -> None:
        parameters = np.array([[snapshot.step] for snapshot in found], np.float32)
        raw = parameters if stage else None
        self.put(Segment(stage, 0, 0, tuple(found), raw if found else None))

    def checkpoint(self) -> None:
        self.put(CheckpointSaved())

    def resume(self, seq: int, is_late: bool) -> None:
        checkpoint = min(seq, self.make.seq)
        self.store.transition(self.run_id, RunState.INTERRUPTED)
        self._claim()
        early = Segment(0, 0, 0, (Snapshot(7, 0.5),) * 7)
        self.put(*[early] * is_late, Resumed(checkpoint))

    def forget(self) -> None:
        """Another process goes on, which knows nothing of the last block."""
        self.store._makers.__init__()  # type: ignore[attr-defined, misc]

    def play(self, wanted: list[Any]) -> None:
        for name, *values in wanted:
            getattr(self, name)(*values)


def whole(store: RunStore, run_id: str) -> list[tuple[int, Snapshot]]:
    query = EventQuery(kinds=(EventKind.SEGMENT,), effective=True)
    payloads: Any = [event.payload for event in store.events(run_id, query)]
    return [(segment.stage, item) for segment in payloads for item in segment.snapshots]


def chosen(found: list[tuple[int, Snapshot]], points: int, thinning: Thinning) -> list[int]:
    """Which of the snapshots are wanted, computed as the contract says it."""
    total = len(found)
    if points == 0 or points >= total:
        return list(range(total))
    if points == 1:
        return [total - 1]
    spans = (points - 2) // 2
    if thinning is Thinning.EVEN or spans < 1:
        return [round(float(at)) for at in np.linspace(0, total - 1, points)]
    wanted = {0, total - 1}
    for span in range(spans):
        rows = range(span * total // spans, (span + 1) * total // spans)
        numbers = [row for row in rows if not math.isnan(found[row][1].train_loss)]
        for extreme in (min, max):
            wanted.add(extreme(numbers or rows[:1], key=lambda row: found[row][1].train_loss))
    return sorted(wanted)


def same(a: Trajectory, rows: list[tuple[int, Snapshot]]) -> bool:
    """NaN is equal to NaN."""
    return repr((a.stages, a.snapshots)) == repr(
        (tuple(stage for stage, _ in rows), tuple(item for _, item in rows))
    )


def answers(store: RunStore, run_id: str, asked: tuple[int, int, int, Thinning]) -> None:
    points, first, last, thinning = asked
    if 0 < last < first:
        first, last = last, first
    points = points or int(thinning is not Thinning.EVEN)
    everything = whole(store, run_id)
    found = [row for row in everything if first <= row[1].step <= (last or math.inf)]
    wanted = [found[at] for at in chosen(found, points, thinning)]
    for view in View:
        answer = store.trajectory(
            run_id, points, view, first_step=first, last_step=last, thinning=thinning
        )
        assert same(answer, wanted)
        if answer.parameters is not None:
            assert answer.parameters[:, 0].tolist() == [snapshot.step for _, snapshot in wanted]
    is_captured = bool(wanted) and all(stage for stage, _ in wanted)
    assert (answer.parameters is not None) is is_captured


def test_a_part_is_what_one_would_choose_from_the_whole(opened: Opened) -> None:
    # The same code runs on both databases, but for a few statements.
    @settings(max_examples=30 if opened.url.startswith("sqlite") else 8)
    @given(actions, st.lists(questions, min_size=1, max_size=4))
    def check(wanted: list[Any], asked: list[Any]) -> None:
        run = Recorded(opened.store)
        run.play(wanted)
        for question in asked:
            answers(opened.store, run.run_id, question)

    check()


def stored_rows(store: Any, run_id: str) -> Iterator[Any]:
    """Blocks and summaries of a run, without the numbers of its events."""
    with store._reading() as connection:
        for table, column in (("snapshot_blocks", "snapshots"), ("block_summaries", "summaries")):
            statement = f"SELECT number, {column} FROM {table} WHERE run_id = '{run_id}' ORDER BY 1"
            yield [(row[0], bytes(row[1])) for row in connection.exec_driver_sql(statement)]


def begin_with(rows: Any, recorded_rows: list[Any]) -> None:
    """An append leaves a few complete blocks for a later one to write."""
    for found, before in zip(rows, recorded_rows, strict=True):
        assert found[: len(before)] == before
        assert len(found) <= len(before) + 3


def test_an_imported_run_has_the_blocks_of_the_recorded_one(opened: Opened, tmp_path: Any) -> None:
    run = Recorded(opened.store)
    many = [Snapshot(step, 1.0 / step, text="x" * (step % 50)) for step in range(1, 121)]
    run.segment(0, many[:70])
    run.checkpoint()
    checkpoint = run.make.seq
    run.segment(1, many[70:])
    run.resume(checkpoint, False)
    for at in range(70, 120, 10):
        run.segment(1, many[at : at + 10])
    run.put(Finished(RunState.SUCCEEDED))
    recorded_rows = list(stored_rows(opened.store, run.run_id))
    assert all(recorded_rows)
    log = list(opened.store.events(run.run_id, EventQuery(view=View.FULL)))
    opened.store.delete(run.run_id)
    assert not any(stored_rows(opened.store, run.run_id))
    opened.store.import_run(log)
    begin_with(stored_rows(opened.store, run.run_id), recorded_rows)


def test_the_blocks_of_a_store_without_any_are_made_of_its_logs(opened: Opened) -> None:
    """As for a store from before there were blocks."""
    run = Recorded(opened.store)
    for first in range(1, 120, 7):
        run.segment(0, [Snapshot(step, step % 5) for step in range(first, first + 7)])
    short = Recorded(opened.store)
    short.segment(0, [Snapshot(1, 0.5)])
    recorded_rows = list(stored_rows(opened.store, run.run_id))
    assert all(recorded_rows)
    with opened.store._writing() as connection:  # type: ignore[attr-defined]
        for table in ("block_summaries", "snapshot_blocks"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
        sql_blocks.fill(connection)
    store = opened.reopen()
    begin_with(stored_rows(store, run.run_id), recorded_rows)
    for run_id in (run.run_id, short.run_id):
        answers(store, run_id, (12, 0, 0, Thinning.MIN_MAX))
