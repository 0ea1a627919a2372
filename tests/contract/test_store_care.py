"""What every store does to stay small and sound: sizes, dropping ended runs, checks."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from mentorgrad.domain.audit import CallOrigin
from mentorgrad.domain.event import Created, Finished
from mentorgrad.domain.experiment import Arm, ExperimentSpec, ExperimentState
from mentorgrad.domain.query import EventQuery, RunFilter, View
from mentorgrad.domain.run import RunResult, RunState
from mentorgrad.domain.spec import RunSpec, Task
from mentorgrad.errors import NotFound, PreconditionFailed
from run_store import sql_care
from run_store.tables import (
    blobs,
    block_summaries,
    events,
    run_labels,
    run_sizes,
    run_terms,
    runs,
    snapshot_blocks,
    trajectory_segments,
)
from run_store.visibility import OnBehalf
from tests.support.event_maker import EventMaker
from tests.support.toy_run import toy_log

MINUTE = timedelta(minutes=1)
EVERY = RunFilter()


def recorded(store: Any, *, ended: bool = True, segments: int = 3, **spec: Any) -> str:
    """A run of some segments with raw parameters, a checkpoint and a file."""
    run, _ = store.create(Created(RunSpec(**spec)))
    worked(store, run.run_id, segments)
    if ended:
        end(store, run.run_id)
    return str(run.run_id)


def worked(store: Any, run_id: str, segments: int = 3) -> None:
    lease = store.claim(run_id, "worker", MINUTE)
    make = EventMaker(run_id, lease.last_seq, lease.attempt)
    steps = range(0, segments * 50, 50)
    found = [make(make.segment(step + 1, step + 50, shape=(4, 8))) for step in steps]
    store.append(run_id, lease.attempt, [*found, make(make.scored(0, 0.5, 0.25))])
    store.put_blob(run_id, lease.attempt, "state", b"moments" * 100, checkpoint=True)
    store.put_blob(run_id, lease.attempt, "prompt.txt", b"kind words")


def end(store: Any, run_id: str) -> None:
    run = store.get_run(run_id)
    done = EventMaker(run_id, run.last_seq, run.attempt)(Finished(RunState.SUCCEEDED, RunResult()))
    store.append(run_id, run.attempt, [done])


def sizes(store: Any, run_filter: RunFilter = EVERY, *, save: bool = False) -> dict[str, Any]:
    return {run.run_id: run for run in store.ended_runs(run_filter, save_sizes=save)}


def test_only_ended_runs_of_no_unfinished_experiment_may_go(opened: Any) -> None:
    store = opened.store
    ended = recorded(store, name="ended")
    running = recorded(store, ended=False)
    queued = store.create(Created())[0].run_id
    spec = ExperimentSpec(tasks=(Task("t"),), arms=(Arm("none"),))
    experiment = store.create_experiment(spec)[0].experiment_id
    of_it = store.create(Created(), experiment_id=experiment)[0].run_id
    worked(store, of_it)
    end(store, of_it)
    assert list(sizes(opened.reopen())) == [ended]
    store = opened.store
    assert store.count_ended() == 1
    for run_id, reason in (
        (running, "TRANSITION_FORBIDDEN"),
        (queued, "TRANSITION_FORBIDDEN"),
        (of_it, "EXPERIMENT_UNFINISHED"),
    ):
        for drop in (store.drop_raw, store.drop_run):
            with pytest.raises(PreconditionFailed) as caught:
                drop(run_id)
            assert caught.value.reason == reason
        assert store.trajectory(run_id).parameters is not None or run_id == queued
    store.set_experiment_state(experiment, ExperimentState.CANCELLED)
    assert list(sizes(store)) == [ended, of_it]
    assert store.drop_run(of_it)
    with pytest.raises(NotFound):
        store.drop_run(of_it)


def test_sizes_are_those_of_the_contents(opened: Any) -> None:
    """Measured, stored, and of runs that have not ended: the same."""
    store = opened.store
    mine = store.seen_by(OnBehalf("alice", ""))
    one = recorded(mine)
    first = sizes(store)[one]
    assert first.owner == "alice"
    assert first.raw_bytes == 150 * 4 * 8 * 4 + 700
    size = first.raw_bytes + first.other_bytes
    assert store.held_bytes() == {"alice": size}
    assert sizes(store, save=True)[one] == first
    assert sizes(opened.reopen())[one] == first
    other = recorded(opened.store, ended=False)
    held = opened.store.held_bytes()
    assert held["alice"] == size
    assert 0.9 * size < held[""] < size
    end(opened.store, other)
    assert set(sizes(opened.store, RunFilter(owner="alice"))) == {one}


def test_a_run_without_its_raw_data_reads_like_one_that_captured_none(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_care, "AT_ONCE", 5000)  # several transactions
    run_id = recorded(opened.store)
    before, log = opened.store.get_run(run_id), list(opened.store.events(run_id))
    size = sizes(opened.store, save=True)[run_id]
    summary = opened.store.trajectory(run_id, view=View.SUMMARY)
    assert opened.store.drop_raw(run_id) == size.raw_bytes
    store = opened.reopen()
    run = store.get_run(run_id)
    assert run.raw_dropped_at is not None
    assert dataclasses.replace(run, raw_dropped_at=None) == before
    full = store.trajectory(run_id)
    assert full.parameters is None
    assert full == summary
    assert list(store.events(run_id, EventQuery(view=View.FULL))) == log
    assert [item.name for item in store.artifacts(run_id)] == ["prompt.txt"]
    kept = sizes(store)[run_id]
    assert (kept.raw_bytes, kept.other_bytes) == (0, size.other_bytes)
    assert store.drop_raw(run_id) == 0
    assert store.get_run(run_id) == run
    assert not list(store.findings())


def test_a_run_that_captured_nothing_is_not_marked(opened: Any) -> None:
    run_id = opened.store.create(Created())[0].run_id
    opened.store.transition(run_id, RunState.CANCELLED)
    assert opened.store.drop_raw(run_id) == 0
    assert opened.store.get_run(run_id).raw_dropped_at is None


def test_a_log_without_its_raw_data_can_be_imported_again(opened: Any) -> None:
    log = toy_log()
    run = opened.store.import_run(log)
    assert opened.store.drop_raw(run.run_id) > 0
    thin = opened.reopen().import_run(log)
    assert thin.raw_dropped_at is not None
    assert opened.store.trajectory(run.run_id).parameters is None


def test_dropping_a_run_leaves_nothing_of_it(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = recorded(opened.store, name="gone", labels={"a": "b"})
    other = recorded(opened.store, name="kept")
    size = sizes(opened.store, save=True)[run_id]
    monkeypatch.setattr(sql_care, "AT_ONCE", 5000)
    origin = CallOrigin("desk", "local", "store gc")
    seen = opened.store.seen_by(OnBehalf("", "", is_admin=True, origin=origin))
    assert seen.drop_run(run_id) == pytest.approx(size.raw_bytes + size.other_bytes, abs=100)
    store = opened.reopen()
    assert list(sizes(store)) == [other]
    with store._reading() as connection:
        for table in (runs, events, trajectory_segments, run_terms, run_sizes, blobs, run_labels):
            left = sa.select(sa.func.count()).where(table.c.run_id == run_id)
            assert connection.execute(left).scalar_one() == 0
    entry = store.list_audit().entries[0]
    assert (entry.caller, entry.action, entry.record_id) == ("desk", "store gc", run_id)
    assert not list(store.findings())


# -- checks -----------------------------------------------------------------------------------


def put(store: Any, *statements: Any) -> None:
    with store._writing() as connection:
        for statement in statements:
            connection.execute(statement)


def test_what_is_wrong_is_found(opened: Any) -> None:
    store = opened.store
    run_id = recorded(store, segments=90, name="Ended", labels={"a": "b"})
    recorded(store, ended=False)
    store.create(Created())
    sizes(store, save=True)
    assert not list(store.findings())
    term = sa.select(sa.func.min(run_terms.c.term_id)).where(run_terms.c.run_id == run_id)
    changes: list[Any] = [
        sa.delete(events).where(events.c.kind == "candidates_scored"),
        sa.update(runs).values(task="other", last_seq=runs.c.last_seq + 1),
        sa.delete(run_terms).where(run_terms.c.term_id == term.scalar_subquery()),
        sa.update(run_labels).values(value="c"),
        sa.update(snapshot_blocks).where(snapshot_blocks.c.number == 2).values(summary=bytes(42)),
        sa.delete(block_summaries),
        sa.update(blobs).values(data=b"other"),
        sa.update(run_sizes).values(raw_bytes=1),
    ]
    put(store, *(change.where(change.table.c.run_id == run_id) for change in changes))
    found = {(item.check, item.message) for item in store.findings()}
    checks = {check for check, _ in found}
    assert checks == {"log", "run", "index", "blocks", "bytes", "size"}
    assert {item.record for item in store.findings()} == {run_id}
    said = " | ".join(message for _, message in found)
    for part in (
        "93 events, numbered 1 to 94; they should be numbered 1 to 95",
        "columns task, last_seq contradict",
        "lacks 1 of its terms",
        "other labels are recorded",
        "block 2 has a summary that contradicts its snapshots",
        "file prompt.txt: other bytes",
        "another size",
    ):
        assert part in said
    quick = {item.check for item in store.findings(quick=True)}
    assert quick == {"log", "run", "index"}


def test_blocks_that_contradict_the_log_are_found(opened: Any) -> None:
    cases = {
        "other losses": {"losses": bytes(8 * 64)},
        "another end": {"end_row": 63},
        "block 0 is missing": {"number": 99},
    }
    wrong = {recorded(opened.store, segments=6): case for case in cases.items()}
    for run_id, (_, values) in wrong.items():
        first = (snapshot_blocks.c.run_id == run_id) & (snapshot_blocks.c.number == 0)
        put(opened.store, sa.update(snapshot_blocks).where(first).values(**values))
    found = {item.record: item for item in opened.store.findings()}
    assert set(found) == set(wrong)
    for run_id, (said, _) in wrong.items():
        assert found[run_id].check == "blocks"
        assert said in found[run_id].message


def test_what_cannot_be_read_is_a_finding(opened: Any) -> None:
    """A run that cannot be decoded, and one whose experiment is missing; others are looked at."""
    run_id = recorded(opened.store)
    orphan = opened.store.create(Created(), experiment_id="gone")[0].run_id
    put(opened.store, sa.update(runs).where(runs.c.run_id == run_id).values(projection=b"\xff"))
    found = {(item.check, item.record) for item in opened.store.findings()}
    assert found == {("run", run_id), ("reference", orphan)}
