"""Labels and notes of runs, which are edited beside the log."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mentorgrad.domain.annotation import MAX_LABELS, RunAnnotation, RunUpdate
from mentorgrad.domain.audit import CallOrigin
from mentorgrad.domain.event import Created, EventKind, StateChanged
from mentorgrad.domain.query import EventQuery, RunFilter, View
from mentorgrad.domain.run import Run, RunState
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput, NotFound
from run_store.visibility import OnBehalf

SPEC = RunSpec(name="one", labels={"team": "a", "draft": "yes"})


def created(store: Any, **options: Any) -> Run:
    run, _ = store.create(Created(SPEC, "r"), **options)
    assert isinstance(run, Run)
    return run


def test_labels_and_note_are_edited_and_found(opened: Any) -> None:
    store, run = opened.store, created(opened.store)
    assert (run.labels, run.note) == (SPEC.labels, "")
    update = RunUpdate({"team": "b", "more": "1"}, ("draft", "nothing"), "Diverges late")
    edited = store.update_run(run.run_id, update)
    assert edited == replace(run, labels={"team": "b", "more": "1"}, note="Diverges late")
    store = opened.reopen()
    assert store.get_run(run.run_id) == edited
    for wanted, count in (
        (RunFilter(labels={"team": "b", "more": "1"}), 1),
        (RunFilter(labels={"team": "a"}), 0),
        (RunFilter(labels={"draft": "yes"}), 0),
        (RunFilter(text="one"), 1),
    ):
        assert len(store.list_runs(wanted)) == count, wanted
    assert store.update_run(run.run_id, update) == edited
    assert store.update_run(run.run_id, RunUpdate(note="")).note == ""
    # What the run was created with stays as it was.
    assert store.create(Created(SPEC, "r")) == (store.get_run(run.run_id), False)


def test_a_note_is_kept_while_a_run_is_executed(opened: Any, event_maker: Any) -> None:
    store, run = opened.store, created(opened.store)
    lease = store.claim(run.run_id, "worker", timedelta(minutes=1))
    make = event_maker(run.run_id, lease.last_seq, lease.attempt)
    store.update_run(run.run_id, RunUpdate({"x": "y"}, note="while running"))
    store.append(run.run_id, lease.attempt, [make(make.scored(0, 0.5))])
    ended = store.transition(run.run_id, RunState.INTERRUPTED)
    assert (ended.note, ended.labels["x"], ended.last_seq) == ("while running", "y", 4)
    assert len(store.list_runs(RunFilter(labels={"x": "y"}, states=(RunState.INTERRUPTED,)))) == 1


def test_an_export_carries_labels_and_note(opened: Any, event_maker: Any) -> None:
    make = event_maker("foreign")
    log = [make(Created(SPEC)), make(StateChanged(RunState.CANCELLED))]
    store = opened.store
    store.import_run(log)
    edited = store.update_run("foreign", RunUpdate(remove_labels=("draft",), note="seen"))
    exported = list(store.events("foreign", EventQuery(view=View.FULL)))
    assert exported[0].payload.annotation == RunAnnotation({"team": "a"}, "seen")
    (first,) = store.events("foreign", EventQuery(kinds=(EventKind.CREATED,), effective=True))
    assert first == exported[0]
    for given in (exported, log):  # the log is the same, whatever was noted since
        assert store.import_run(given) == edited
    store.delete("foreign")
    again = store.import_run(exported)
    assert again == edited
    assert list(store.events("foreign", EventQuery(view=View.FULL))) == exported
    assert len(store.list_runs(RunFilter(labels={"team": "a"}))) == 1


def test_what_is_no_label_or_note_is_refused(opened: Any) -> None:
    run = created(opened.store)
    for update, field in (
        (RunUpdate(note="x" * 10_001), "update.note"),
        (RunUpdate({"k": "x" * 2_001}), "update.labels['k']"),
        (RunUpdate({"": "x"}), "update.labels"),
        (RunUpdate({"a": "b"}, ("c", "a")), "update.remove_labels[1]"),
        (RunUpdate({f"k{n}": "" for n in range(MAX_LABELS - 1)}), "update.labels"),
    ):
        with pytest.raises(InvalidInput) as caught:
            opened.store.update_run(run.run_id, update)
        assert [violation.field for violation in caught.value.violations] == [field]
        assert opened.store.get_run(run.run_id) == run


def test_the_labels_of_an_experiment_are_its_own(opened: Any) -> None:
    spec = replace(SPEC, labels={"phase": "main", "arm": "none"})
    run, _ = opened.store.create(Created(spec), experiment_id="e")
    for update, field in (
        (RunUpdate({"team": "a", "phase": "tuning"}), "update.labels['phase']"),
        (RunUpdate({}, ("team", "arm")), "update.remove_labels[1]"),
    ):
        with pytest.raises(InvalidInput) as caught:
            opened.store.update_run(run.run_id, update)
        assert caught.value.reason == "RESERVED_LABEL"
        assert caught.value.violations[0].field == field
    assert opened.store.update_run(run.run_id, RunUpdate({"phase": "main", "x": "y"})).labels["x"]
    other = created(opened.store)
    assert opened.store.update_run(other.run_id, RunUpdate({"phase": "any"})).labels["phase"]


def test_an_edit_is_audited_and_seen_by_whom_the_run_is(opened: Any) -> None:
    origin = CallOrigin("desk", "127.0.0.1", "UpdateRun")
    alice = opened.store.seen_by(OnBehalf("alice", "", origin=origin))
    run = created(opened.store.seen_by(OnBehalf("alice", "")))
    alice.update_run(run.run_id, RunUpdate(note="mine"), "edit-1")
    alice.update_run(run.run_id, RunUpdate(note="mine"), "edit-1")  # changes nothing
    with pytest.raises(NotFound):
        opened.store.seen_by(OnBehalf("bob", "")).update_run(run.run_id, RunUpdate(note="his"))
    (entry,) = opened.store.list_audit()
    assert (entry.action, entry.record_id, entry.request_id) == ("UpdateRun", run.run_id, "edit-1")
