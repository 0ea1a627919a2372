"""What every store shows to whom. Each test looks through the views of several owners."""

from __future__ import annotations

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mentorgrad.domain.event import Created, StateChanged
from mentorgrad.domain.experiment import Arm, ExperimentSpec, ExperimentState
from mentorgrad.domain.objective import Function
from mentorgrad.domain.query import RunFilter
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import DataFiles, RunSpec, Task
from mentorgrad.errors import AlreadyExists, InvalidInput, NotFound, ResourceExhausted
from run_store.uploads import StoredUpload
from run_store.visibility import EVERYTHING, OnBehalf

ALICE, MATE, BOB = OnBehalf("alice", "vision"), OnBehalf("mate", "vision"), OnBehalf("bob", "")
ADMIN = OnBehalf("root", "", is_admin=True)
SPEC = ExperimentSpec(
    base=RunSpec(Function()), tasks=(Task("a"),), arms=(Arm("none"), Arm("other")), seeds=(0,)
)


def test_runs_are_seen_by_owner_project_and_administrator(opened: Any) -> None:
    made = {
        viewer.owner: opened.store.seen_by(viewer).create(Created(RunSpec(Function())))[0].run_id
        for viewer in (ALICE, MATE, BOB, ADMIN, EVERYTHING)
    }
    store = opened.reopen()
    everything = set(made.values())
    for viewer, hidden in (
        (ALICE, {"bob", "root"}),
        (MATE, {"bob", "root"}),
        (BOB, {"alice", "mate", "root"}),
        # Without a project, nobody is in the same one.
        (OnBehalf("carol", ""), {"alice", "mate", "bob", "root"}),
        (OnBehalf("vision", "alice"), {"alice", "mate", "bob", "root"}),
        (ADMIN, set()),
        (EVERYTHING, set()),
    ):
        view, unseen = store.seen_by(viewer), {made[name] for name in hidden}
        assert {run.run_id for run in view.list_runs().runs} == everything - unseen
        for run_id in unseen:
            for call in (view.get_run, view.delete):
                with pytest.raises(NotFound):
                    call(run_id)
    assert store.get_run(made["alice"]).owner == "alice"
    (found,) = store.list_runs(RunFilter(owner="mate")).runs
    assert (found.run_id, found.project) == (made["mate"], "vision")


def test_request_ids_are_each_owners_and_each_experiments(opened: Any) -> None:
    created, other = Created(RunSpec(Function()), "r"), Created(RunSpec(name="other"), "r")
    views = [opened.store.seen_by(viewer) for viewer in (ALICE, MATE, BOB)]
    runs = {view.create(created)[0].run_id for view in views}
    assert len(runs) == 3
    for view in views:
        assert view.create(created) == (view.find_request("r", created.spec), False)
        with pytest.raises(AlreadyExists):
            view.create(other)
    member, is_new = views[0].create(other, experiment_id="e")
    assert is_new
    assert views[0].find_request("r", other.spec, experiment_id="e") == member
    assert [run.run_id for run in views[0].list_runs(RunFilter(experiment_id="e")).runs] == [
        member.run_id
    ]


def test_a_request_from_before_owners_is_still_known(opened: Any) -> None:
    created = Created(RunSpec(Function()), "r")
    before, _ = opened.store.create(created)
    spec, _ = opened.store.create_experiment(SPEC, "e")
    for viewer in (ALICE, BOB):
        view = opened.store.seen_by(viewer)
        assert view.create(created) == (before, False)
        assert view.create_experiment(SPEC, "e") == (spec, False)


def test_experiments_are_seen_like_runs(opened: Any) -> None:
    mine, _ = opened.store.seen_by(ALICE).create_experiment(SPEC, "e")
    assert (mine.owner, mine.project) == ("alice", "vision")
    for viewer in (MATE, ADMIN):
        assert opened.store.seen_by(viewer).get_experiment(mine.experiment_id) == mine
    bob = opened.store.seen_by(BOB)
    his, is_new = bob.create_experiment(SPEC, "e")
    assert is_new
    assert bob.list_experiments().experiments == (his,)
    with pytest.raises(NotFound):
        bob.get_experiment(mine.experiment_id)
    opened.store.seen_by(ALICE).create(
        Created(RunSpec(Function())), experiment_id=mine.experiment_id
    )
    assert bob.count_runs(mine.experiment_id) == {}
    assert opened.store.count_runs(mine.experiment_id) == {("", RunState.QUEUED): 1}


def test_an_import_belongs_to_who_imports_it(opened: Any, event_maker: Any) -> None:
    make = event_maker("foreign")
    labels = {"experiment": "e", "phase": "main"}
    log = [
        make(Created(RunSpec(Function(), labels=labels), "r")),
        make(StateChanged(RunState.CANCELLED)),
    ]
    alice, bob = opened.store.seen_by(ALICE), opened.store.seen_by(BOB)
    run = alice.import_run(log)
    assert run.owner == "alice"
    assert alice.import_run(log) == run == opened.store.seen_by(MATE).import_run(log)
    with pytest.raises(AlreadyExists, match="another run with the id"):
        bob.import_run(log)
    assert opened.store.count_runs("e") == {}


def test_an_upload_is_named_by_those_who_have_its_bytes(opened: Any) -> None:
    data = b"text,label\n"
    digest = hashlib.sha256(data).hexdigest()
    upload = StoredUpload(digest, ".csv", len(data))
    spec = RunSpec(task=Task("own", DataFiles(f"upload:{digest}"), "what it is", ("a", "b")))
    alice, mate, bob = (opened.store.seen_by(viewer) for viewer in (ALICE, MATE, BOB))
    for _ in range(2):
        alice.put_upload(upload, io.BytesIO(data))
    assert alice.find_upload(digest) == mate.find_upload(digest) == upload
    for call in (bob.find_upload, lambda name: list(bob.upload_pieces(name))):
        with pytest.raises(NotFound):
            call(digest)
    with pytest.raises(InvalidInput) as caught:
        bob.create(Created(spec))
    assert caught.value.reason == "UPLOAD_NOT_FOUND"
    # He cannot change how Alice's file is read, either.
    with pytest.raises(AlreadyExists):
        bob.put_upload(replace(upload, suffix=".tsv"), io.BytesIO(data))
    bob.put_upload(upload, io.BytesIO(data))
    assert b"".join(bob.upload_pieces(digest)) == data
    assert bob.create(Created(spec))[1]


def test_a_page_belongs_to_who_asked_for_it(opened: Any) -> None:
    alice, bob = opened.store.seen_by(ALICE), opened.store.seen_by(BOB)
    for _ in range(2):
        opened.store.create(Created(RunSpec(Function())))
        opened.store.create_experiment(SPEC)
    for listed in ("list_runs", "list_experiments"):
        token = getattr(alice, listed)(page_size=1).next_page_token
        assert token
        with pytest.raises(InvalidInput, match="another query"):
            getattr(bob, listed)(page_size=1, page_token=token)


def test_a_view_ends_with_its_store(opened: Any) -> None:
    view = opened.store.seen_by(BOB)
    opened.reopen()
    with pytest.raises(Exception, match="closed"):
        view.list_runs()


# -- budgets ----------------------------------------------------------------------------------


def test_an_owner_leaves_room_in_the_queue(opened: Any) -> None:
    alice = opened.store.seen_by(replace(ALICE, queue_limit=2))
    mate = opened.store.seen_by(replace(MATE, queue_limit=1))
    runs = [alice.create(Created(RunSpec(Function()), f"r{n}"))[0] for n in range(2)]
    with pytest.raises(ResourceExhausted) as caught:
        alice.create(Created(RunSpec(Function())))
    assert caught.value.reason == "OWNER_QUEUE_FULL"
    assert caught.value.retry_after
    assert alice.create(Created(RunSpec(Function()), "r0")) == (runs[0], False)
    mate.create(Created(RunSpec(Function())), max_queued=3)
    with pytest.raises(ResourceExhausted, match="the queue is full") as full:
        opened.store.seen_by(BOB).create(Created(RunSpec(Function())), max_queued=3)
    assert full.value.reason == "QUEUE_FULL"


def test_a_run_that_was_paused_finds_no_other_way_into_the_queue(opened: Any) -> None:
    alice = opened.store.seen_by(replace(ALICE, queue_limit=1))
    run, _ = alice.create(Created(RunSpec(Function())))
    alice.transition(run.run_id, RunState.PAUSED)
    alice.create(Created(RunSpec(Function())))
    for store, limits, reason in (
        (alice, {}, "OWNER_QUEUE_FULL"),
        (opened.store, {"max_queued": 1}, "QUEUE_FULL"),
    ):
        with pytest.raises(ResourceExhausted) as caught:
            store.transition(run.run_id, RunState.QUEUED, **limits)
        assert caught.value.reason == reason
    assert opened.store.get_run(run.run_id).state is RunState.PAUSED
    opened.store.transition(run.run_id, RunState.QUEUED, max_queued=2)


def test_an_owner_has_so_many_experiments_at_once(opened: Any) -> None:
    alice = opened.store.seen_by(replace(ALICE, experiment_limit=1))
    first, _ = alice.create_experiment(SPEC, "e")
    with pytest.raises(ResourceExhausted) as caught:
        alice.create_experiment(SPEC)
    assert caught.value.reason == "OWNER_EXPERIMENTS"
    assert alice.create_experiment(SPEC, "e") == (first, False)
    opened.store.seen_by(replace(BOB, experiment_limit=1)).create_experiment(SPEC)
    alice.set_experiment_state(first.experiment_id, ExperimentState.FINISHED)
    assert alice.create_experiment(SPEC)[1]


def test_an_owner_keeps_so_many_runs(opened: Any) -> None:
    alice = opened.store.seen_by(replace(ALICE, run_limit=2))
    first, _ = alice.create(Created(RunSpec(Function()), "r"))
    alice.transition(first.run_id, RunState.CANCELLED)
    alice.create(Created(RunSpec(Function())))
    log = list(alice.events(first.run_id))
    other = [replace(event, run_id="1" * len(first.run_id)) for event in log]
    other[0] = replace(other[0], payload=Created(RunSpec(Function())))
    for call in (
        lambda: alice.create(Created(RunSpec(Function()))),
        lambda: alice.import_run(other),
    ):
        with pytest.raises(ResourceExhausted, match="alice keeps 2 runs or more") as caught:
            call()
        assert caught.value.reason == "OWNER_RUNS_FULL"
    # What is there already is no further one.
    assert alice.create(Created(RunSpec(Function()), "r"))[0].run_id == first.run_id
    assert alice.import_run(log).run_id == first.run_id
    opened.store.seen_by(replace(BOB, run_limit=2)).create(Created(RunSpec(Function())))
    alice.delete(first.run_id)
    assert alice.create(Created(RunSpec(Function())))[1]


def test_the_ended_runs_of_an_owner_have_so_many_bytes(opened: Any) -> None:
    unlimited = opened.store.seen_by(ALICE)
    first, _ = unlimited.create(Created(RunSpec(Function()), "r"))
    unlimited.claim(first.run_id, "worker", timedelta(minutes=5))
    unlimited.put_blob(first.run_id, 1, "export.bin", bytes(3000))
    narrow = opened.store.seen_by(replace(ALICE, size_limit=3000))
    narrow.create(Created(RunSpec(Function())))  # the first one has not ended
    unlimited.transition(first.run_id, RunState.FAILED, attempt=1)
    log = list(unlimited.events(first.run_id))
    other = [replace(event, run_id="1" * len(first.run_id)) for event in log]
    other[0] = replace(other[0], payload=Created(RunSpec(Function())))
    for call in (
        lambda: narrow.create(Created(RunSpec(Function()))),
        lambda: narrow.import_run(other),
    ):
        with pytest.raises(ResourceExhausted, match="the ended runs of alice have 0 MiB") as caught:
            call()
        assert caught.value.reason == "OWNER_STORE_FULL"
    assert narrow.create(Created(RunSpec(Function()), "r"))[0].run_id == first.run_id
    opened.store.seen_by(replace(BOB, size_limit=1)).create(Created(RunSpec(Function())))
    wide = opened.store.seen_by(replace(ALICE, size_limit=8000))
    for _ in range(2):  # the stored size is the measured one
        wide.create(Created(RunSpec(Function())))
    assert sum(opened.store.held_bytes().values()) > 3000
    narrow.delete(first.run_id)
    assert narrow.create(Created(RunSpec(Function())))[1]


def test_owners_take_turns(opened: Any) -> None:
    def queue(viewer: OnBehalf) -> str:
        made = opened.store.seen_by(viewer).create(Created(RunSpec(Function())))
        return str(made[0].run_id)

    def following(count: int, **limits: Any) -> list[str]:
        return [run.run_id for run in opened.store.next_runs(count, **limits)]

    a = [queue(ALICE) for _ in range(4)]
    b = [queue(BOB) for _ in range(2)]
    assert following(9) == [a[0], b[0], a[1], b[1], a[2], a[3]]
    assert following(3) == [a[0], b[0], a[1]]
    assert following(3, skip=2) == [a[1], b[1], a[2]]
    assert following(9, skip=6) == []
    assert following(9, owner_limit=1) == [a[0], b[0]]
    assert following(9, owner_limit=1, skip=1) == [b[0]]
    for run_id in a[:2]:
        opened.store.claim(run_id, "worker", timedelta(minutes=1))
    assert following(9) == [b[0], b[1], a[2], a[3]]
    assert following(9, owner_limit=2) == b
    opened.store.transition(a[0], RunState.INTERRUPTED)
    assert following(9) == [b[0], a[0], b[1], a[2], a[3]]


def test_runs_are_claimed_in_that_order_and_each_once(opened: Any) -> None:
    def queue(viewer: OnBehalf) -> str:
        return str(opened.store.seen_by(viewer).create(Created(RunSpec(Function())))[0].run_id)

    def claim(among: list[str], **limits: Any) -> str:
        lease = opened.store.claim_next(among, "worker", timedelta(minutes=1), **limits)
        assert lease is None or opened.store.get_run(lease.run_id).attempt == lease.attempt == 1
        return lease.run_id if lease else ""

    a, b = [queue(ALICE) for _ in range(8)], [queue(BOB) for _ in range(8)]
    assert claim([a[1], a[0]]) == a[0]
    assert claim([a[0]]) == ""
    assert claim([a[1], b[0]]) == b[0]  # Alice has a running run
    assert claim([a[1], b[1]], owner_limit=1) == ""
    left = [*a[1:], *b[1:]]
    with ThreadPoolExecutor(4) as threads:
        claimed = list(threads.map(lambda _: claim(left), range(len(left) + 2)))
    assert sorted(claimed) == sorted([*left, "", ""])
