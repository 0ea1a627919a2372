"""What every `AuditStore` guarantees. Each test reads back from a store opened anew."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mentorgrad.domain.audit import AuditEntry, AuditFilter, CallOrigin
from mentorgrad.domain.event import Created
from mentorgrad.domain.experiment import Arm, ExperimentSpec, ExperimentState
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import DesiredState, RunState
from mentorgrad.domain.spec import RunSpec, Task
from mentorgrad.errors import InvalidInput, NotFound, PreconditionFailed
from run_store.uploads import StoredUpload
from run_store.visibility import OnBehalf

BASE = RunSpec(Function())
EXPERIMENT = ExperimentSpec(base=BASE, tasks=(Task("a"),), arms=(Arm("none"), Arm("other")))
LONG_AGO = datetime(2020, 1, 2, tzinfo=UTC)


def viewer(action: str = "", owner: str = "alice", **more: Any) -> OnBehalf:
    origin = CallOrigin(f"{owner}'s token", "10.0.0.5", action, "c0ffee") if action else None
    return OnBehalf(owner, more.pop("project", ""), origin=origin, **more)


def entries(store: Any, **wanted: Any) -> list[AuditEntry]:
    return list(store.list_audit(AuditFilter(**wanted)).entries)


def test_a_change_is_recorded_with_who_made_it(opened: Any) -> None:
    store = opened.store
    before = datetime.now(UTC)
    created = Created(BASE, request_id="r1")
    run_id = store.seen_by(viewer("CreateRun", project="vision")).create(created)[0].run_id
    (entry,) = entries(opened.reopen())
    assert entry.time is not None
    assert before <= entry.time <= datetime.now(UTC)
    assert replace(entry, time=None) == AuditEntry(
        owner="alice",
        project="vision",
        caller="alice's token",
        address="10.0.0.5",
        action="CreateRun",
        record_id=run_id,
        request_id="r1",
        call_id="c0ffee",
    )


def test_every_change_is_recorded_once_and_only_if_it_happens(opened: Any) -> None:
    store = opened.store

    def by(action: str) -> Any:
        return store.seen_by(viewer(action))

    created = Created(BASE, request_id="r1")
    run_id = by("CreateRun").create(created)[0].run_id
    assert by("CreateRun").create(created)[0].run_id == run_id
    with pytest.raises(PreconditionFailed):
        by("ResumeRun").transition(run_id, RunState.QUEUED)
    store.claim(run_id, "worker", timedelta(minutes=1))
    for _ in range(2):
        by("CancelRun").set_desired(run_id, DesiredState.CANCEL)
    store.transition(run_id, RunState.CANCELLED)
    log = tuple(store.events(run_id))
    by("DeleteRun").delete(run_id)
    with pytest.raises(NotFound):
        by("DeleteRun").delete(run_id)
    by("ImportRun").import_run(log)
    by("ImportRun").import_run(log)
    experiment = by("CreateExperiment").create_experiment(EXPERIMENT, "e1")[0].experiment_id
    by("CreateExperiment").create_experiment(EXPERIMENT, "e1")
    by("CancelExperiment").set_experiment_state(experiment, ExperimentState.CANCELLED)
    digest = hashlib.sha256(b"text").hexdigest()
    for _ in range(2):
        by("UploadData").put_upload(StoredUpload(digest, ".csv", 4), io.BytesIO(b"text"))
    other = store.seen_by(viewer("UploadData", "bob"))
    other.put_upload(StoredUpload(digest, ".csv", 4), io.BytesIO(b"text"))

    found = entries(opened.reopen())
    assert [(entry.action, entry.record_id) for entry in reversed(found)] == [
        ("CreateRun", run_id),
        ("CancelRun", run_id),
        ("DeleteRun", run_id),
        ("ImportRun", run_id),
        ("CreateExperiment", experiment),
        ("CancelExperiment", experiment),
        ("UploadData", digest),
        ("UploadData", digest),  # Bob's
    ]
    assert {entry.outcome for entry in found} == {"OK"}


def test_parts_of_the_service_are_not_recorded(opened: Any) -> None:
    opened.store.create(Created(BASE))
    opened.store.seen_by(viewer()).create(Created(BASE))
    assert entries(opened.reopen()) == []


def test_refusals_are_listed_by_filter_and_in_pages(opened: Any) -> None:
    given = [
        AuditEntry(
            time=LONG_AGO + timedelta(seconds=n),
            owner=("alice", "bob")[n % 2],
            caller="desk",
            action="DeleteRun",
            outcome="SCOPE_MISSING" if n < 3 else "CALL_RATE",
            count=n + 1,
        )
        for n in range(5)
    ]
    opened.store.record_audit(given)
    store = opened.reopen()
    assert entries(store) == given[::-1]
    assert entries(store, owner="bob") == [given[3], given[1]]
    assert entries(store, outcome="SCOPE_MISSING", caller="desk") == given[2::-1]
    assert entries(store, action="CreateRun") == []
    span = {"recorded_after": given[1].time, "recorded_before": given[3].time}
    assert entries(store, **span) == [given[2], given[1]]
    pages, token = [], ""
    while not pages or token:
        page = store.list_audit(None, 2, token)
        pages.append(page.entries)
        token = page.next_page_token
    assert [entry for page in pages for entry in page] == given[::-1]
    assert [len(page) for page in pages] == [2, 2, 1]
    with pytest.raises(InvalidInput):
        store.list_audit(AuditFilter(owner="bob"), 2, store.list_audit(None, 2).next_page_token)


def test_others_entries_are_not_seen(opened: Any) -> None:
    opened.store.seen_by(viewer("CreateRun", project="vision")).create(Created(BASE))
    for seen, owner, more in (
        (1, "alice", {}),
        (1, "mate", {"project": "vision"}),
        (1, "root", {"is_admin": True}),
        (0, "bob", {}),
    ):
        assert len(entries(opened.store.seen_by(viewer("", owner, **more)))) == seen


def test_what_is_old_expires(opened: Any) -> None:
    fresh = AuditEntry(time=datetime.now(UTC))
    opened.store.record_audit([AuditEntry(time=LONG_AGO), AuditEntry(time=LONG_AGO), fresh])
    assert opened.store.expire_audit(timedelta(days=1)) == 2
    assert opened.store.expire_audit(timedelta(days=1)) == 0
    assert entries(opened.reopen()) == [fresh]
