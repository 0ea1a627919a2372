from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from mentorgrad.errors import Conflict, Unavailable
from mentorgrad.model.event import Created, MentorBack, MentorLost, RunEvent
from mentorgrad.model.run import DesiredState, RunState
from mentorgrad.model.spec import Function, RunSpec
from run_store.memory_store import MemoryRunStore
from trainer_service import control
from trainer_service.control import Stop, StopKind, Stopper, Watcher
from trainer_service.recorder import Recorder

LEASE = timedelta(seconds=60)


class Flaky(MemoryRunStore):
    """Fails as told; counts appends."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[Exception] = []
        self.appends: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def append(self, run_id: str, attempt: int, events: Sequence[RunEvent]) -> int:
        self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.appends.append(len(events))
        return super().append(run_id, attempt, events)


@pytest.fixture
def store() -> Flaky:
    return Flaky()


def begin(store: Flaky) -> Any:
    run, _ = store.create(Created(spec=RunSpec(objective=Function())))
    return store.claim(run.run_id, "test", LEASE)


def test_events_are_numbered_on_and_stored_in_order(store: Flaky) -> None:
    lease = begin(store)
    with Recorder(store, lease) as recorder:
        seqs = [recorder.put(MentorLost("m", str(i))) for i in range(200)]
        recorder.flush()
        assert seqs == list(range(lease.last_seq + 1, lease.last_seq + 201))
        stored = [e for e in store.events(lease.run_id) if isinstance(e.payload, MentorLost)]
        assert [e.payload.reason for e in stored] == [str(i) for i in range(200)]


def test_what_waits_goes_into_one_append(store: Flaky) -> None:
    lease = begin(store)
    with Recorder(store, lease) as recorder:
        store.gate.clear()
        for _ in range(100):
            recorder.put(MentorBack("m"))
        store.gate.set()
        recorder.flush()
    assert sum(store.appends) == 100
    assert len(store.appends) < 10


def test_a_store_that_is_away_is_tried_again(store: Flaky) -> None:
    lease, slept = begin(store), []
    store.failures = [Unavailable("locked")] * 4
    with Recorder(store, lease, sleep=slept.append) as recorder:
        recorder.put(MentorBack("m"))
        recorder.flush()
    assert slept == [0.05, 0.1, 0.2, 0.4]
    assert store.get_run(lease.run_id).last_seq == lease.last_seq + 1


def test_patience_has_an_end_and_the_run_hears_of_it(store: Flaky) -> None:
    lease = begin(store)
    store.failures = [Unavailable("gone")] * 1000
    with Recorder(store, lease, patience=5.0, sleep=lambda _: None) as recorder:
        recorder.put(MentorBack("m"))
        with pytest.raises(Unavailable, match="gone"):
            recorder.flush()
        with pytest.raises(Unavailable):
            recorder.put(MentorBack("m"))
        with pytest.raises(Unavailable):
            recorder.flush()


def test_a_conflict_is_not_tried_again(store: Flaky) -> None:
    lease = begin(store)
    store.failures = [Conflict("stale", reason="STALE_ATTEMPT")]
    with Recorder(store, lease) as recorder:
        recorder.put(MentorBack("m"))
        with pytest.raises(Conflict):
            recorder.flush()
    assert store.appends == []


def test_a_blob_is_stored_before_the_events_behind_it(store: Flaky) -> None:
    lease = begin(store)
    with Recorder(store, lease) as recorder:
        recorder.blob("a.bin", b"abc", checkpoint=True)
        recorder.put(MentorBack("m"))
        recorder.flush()
        assert store.read_artifact(lease.run_id, "a.bin") == b"abc"
        recorder.prune([])
        recorder.flush()
        assert lease.run_id
    with pytest.raises(Exception, match=r"no file 'a\.bin'"):
        store.read_artifact(lease.run_id, "a.bin")


# -- control ----------------------------------------------------------------------------------


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "POLL_SECONDS", 0.005)
    monkeypatch.setattr(control, "HEARTBEAT_SECONDS", 0.02)


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize(
    ("desired", "kind"),
    [(DesiredState.PAUSE, StopKind.PAUSE), (DesiredState.CANCEL, StopKind.CANCEL)],
)
def test_a_wish_reaches_the_run(store: Flaky, desired: DesiredState, kind: StopKind) -> None:
    lease, stopper, heard = begin(store), Stopper(), threading.Event()
    stopper.on_stop(heard.set)
    with Watcher(store, lease, stopper):
        stopper.check()
        store.set_desired(lease.run_id, desired)
        assert heard.wait(10)
        with pytest.raises(Stop) as caught:
            stopper.check()
    assert caught.value.kind is kind


@pytest.mark.usefixtures("_quick")
def test_a_lost_lease_stops_the_run_and_then_the_process(store: Flaky) -> None:
    lease, stopper, ended = begin(store), Stopper(), threading.Event()
    with Watcher(store, lease, stopper, on_lost=ended.set, patience=0.01):
        store.transition(lease.run_id, RunState.INTERRUPTED, "its lease ran out")
        store.claim(lease.run_id, "another", LEASE)
        assert ended.wait(10)
    assert stopper.kind is StopKind.LOST


@pytest.mark.usefixtures("_quick")
def test_the_lease_is_prolonged_and_a_store_that_is_away_is_borne(
    store: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, beats, enough = begin(store), [], threading.Event()

    def heartbeat(run_id: str, attempt: int, length: timedelta) -> DesiredState:
        beats.append((run_id, attempt, length))
        if len(beats) == 1:
            raise Unavailable("away")
        if len(beats) == 3:
            enough.set()
        return DesiredState.RUN

    monkeypatch.setattr(store, "heartbeat", heartbeat)
    stopper = Stopper()
    with Watcher(store, lease, stopper):
        assert enough.wait(10)
    assert beats[0] == (lease.run_id, 1, control.LEASE)
    assert stopper.kind is None


@pytest.mark.usefixtures("_quick")
def test_what_began_just_after_a_stop_is_ended_too(store: Flaky) -> None:
    lease, stopper, again = begin(store), Stopper(), threading.Event()
    calls: list[int] = []

    def end_what_is_pending() -> None:
        calls.append(1)
        if len(calls) > 2:
            again.set()

    stopper.note(StopKind.INTERRUPT)  # as a signal handler does, which calls nobody
    with Watcher(store, lease, stopper):
        stopper.on_stop(end_what_is_pending)
        assert again.wait(10)
    assert stopper.kind is StopKind.INTERRUPT


def test_the_strongest_wish_holds() -> None:
    stopper = Stopper()
    for kind in (StopKind.PAUSE, StopKind.INTERRUPT, StopKind.CANCEL, StopKind.PAUSE):
        stopper.request(kind)
    assert stopper.kind is StopKind.CANCEL
    late: list[int] = []
    stopper.on_stop(lambda: late.append(1))
    assert late == [1]
