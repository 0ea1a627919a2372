from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from mentorgrad.domain.event import Created, MentorBack, MentorLost, RunEvent, StateChanged
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import DesiredState, RunState
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import Conflict, Unavailable
from run_store.protocols import RunFile
from run_store.temporary_store import TemporaryRunStore
from tests.support.trainer_process import eventually
from trainer_service.running import recorder as recorder_module
from trainer_service.running import stop_control
from trainer_service.running.recorder import Recorder, StoreOutagePolicy
from trainer_service.running.stop_control import RunMonitor, Stop, StopKind, StopRequest

LEASE = timedelta(seconds=60)


class Flaky(TemporaryRunStore):
    """Fails as told, before or after it has appended; counts appends."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[Exception] = []
        self.appends: list[int] = []
        self.lost_answers = 0
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def append(
        self, run_id: str, attempt: int, events: Sequence[RunEvent], files: Sequence[RunFile] = ()
    ) -> int:
        self.entered.set()
        self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.appends.append(len(events))
        last = super().append(run_id, attempt, events, files)
        if self.lost_answers:
            self.lost_answers -= 1
            raise Unavailable("connection reset")
        return last


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


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(recorder_module, "LONGEST_PAUSE", 0.001)
    monkeypatch.setattr(recorder_module, "LEAVING_SECONDS", 0.0)


def until(condition: Callable[[], bool]) -> None:
    eventually(condition, "the writer's thread gets there")


@pytest.mark.usefixtures("_impatient")
def test_a_store_that_is_away_is_tried_again_and_gets_everything_in_order(store: Flaky) -> None:
    lease = begin(store)
    store.failures = [Unavailable("locked")] * 20
    with Recorder(store, lease) as recorder:
        for i in range(500):
            recorder.put(MentorLost("m", str(i)))
        recorder.flush()
        assert not recorder.is_away
        recorder.check()
    stored = [e for e in store.events(lease.run_id) if isinstance(e.payload, MentorLost)]
    assert [e.payload.reason for e in stored] == [str(i) for i in range(500)]
    assert store.failures == []


@pytest.mark.usefixtures("_impatient")
def test_an_append_whose_answer_was_lost_is_not_made_twice(store: Flaky) -> None:
    lease = begin(store)
    store.lost_answers = 3
    with Recorder(store, lease) as recorder:
        recorder.put(MentorBack("m"))
        recorder.flush()
    assert store.appends == [1, 1, 1, 1]
    assert store.get_run(lease.run_id).last_seq == lease.last_seq + 1


class Clock:
    """Seconds that pass when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.usefixtures("_impatient")
def test_patience_has_an_end_and_then_the_run_is_to_stop(store: Flaky) -> None:
    lease, clock = begin(store), Clock()
    away = Unavailable("gone from postgresql://a-host", reason="STORE_AWAY")
    away.told = Unavailable("gone")  # the run's reason is for everybody who may read it
    store.failures = [away] * 10**6
    outage_policy = StoreOutagePolicy(patience=60.0)
    with Recorder(store, lease, outage_policy, clock=clock) as recorder:
        recorder.put(MentorBack("m"))
        until(lambda: recorder.is_away)
        clock.now = 59.0
        recorder.check()
        clock.now = 61.0
        with pytest.raises(Stop) as caught:
            recorder.check()
        assert caught.value.kind is StopKind.AWAY
        assert recorder.overdue == (
            "the run store was unavailable for over 60 s (STORE_AWAY: gone); "
            "resume the run to continue"
        )
        # What follows is taken nevertheless, and all of it is written in the end.
        recorder.put(StateChanged(RunState.PAUSED, recorder.overdue))
        store.failures = []
        recorder.flush()
    run = store.get_run(lease.run_id)
    assert (run.state, run.last_seq) == (RunState.PAUSED, lease.last_seq + 2)


@pytest.mark.usefixtures("_impatient")
def test_the_spool_has_a_bound_too(store: Flaky) -> None:
    lease = begin(store)
    store.failures = [Unavailable("no room", reason="STORE_FULL")] * 10**6
    with Recorder(store, lease, StoreOutagePolicy(spool_bytes=1 << 20)) as recorder:
        recorder.put(MentorBack("m"))
        until(lambda: recorder.is_away)
        recorder.blob("a.bin", bytes(1 << 19))
        recorder.check()
        recorder.blob("b.bin", bytes(1 << 19))
        with pytest.raises(Stop):
            recorder.check()
        assert "1 MiB waited to be written (STORE_FULL: no room)" in recorder.overdue
        store.failures = []
        recorder.flush()
    assert len(store.read_artifact(lease.run_id, "b.bin")) == 1 << 19


@pytest.mark.slow
def test_a_store_that_is_only_slow_holds_the_run_back(store: Flaky) -> None:
    lease, done = begin(store), threading.Event()
    with Recorder(store, lease, StoreOutagePolicy(spool_bytes=1000)) as recorder:
        store.gate.clear()

        def outpace() -> None:
            for i in range(200):
                recorder.put(MentorLost("m", str(i)))
            done.set()

        threading.Thread(target=outpace, daemon=True).start()
        assert not done.wait(0.2)
        recorder.check()
        store.gate.set()
        assert done.wait(120)
    assert store.get_run(lease.run_id).last_seq == lease.last_seq + 200


def test_a_store_that_is_silent_is_away_too(store: Flaky) -> None:
    lease, clock = begin(store), Clock()
    with Recorder(
        store, lease, StoreOutagePolicy(spool_bytes=1, patience=60.0), clock=clock
    ) as recorder:
        store.gate.clear()
        recorder.put(MentorBack("m"))
        until(lambda: store.entered.is_set())
        assert not recorder.is_away
        clock.now = 61.0
        assert recorder.is_away
        with pytest.raises(Stop):
            recorder.check()
        assert "no response" in recorder.overdue
        recorder.put(MentorBack("m"))  # which holds nobody back any more
        store.gate.set()


@pytest.mark.usefixtures("_impatient")
def test_a_process_that_is_to_end_does_not_wait_for_ever(store: Flaky) -> None:
    lease, leaving = begin(store), threading.Event()
    store.failures = [Unavailable("gone")] * 10**6
    with Recorder(store, lease, StoreOutagePolicy(is_leaving=leaving.is_set)) as recorder:
        recorder.put(MentorBack("m"))
        until(lambda: recorder.is_away)
        leaving.set()
        with pytest.raises(Unavailable, match="not all events were recorded: gone"):
            recorder.flush()
        with pytest.raises(Unavailable):
            recorder.put(MentorBack("m"))
    assert store.get_run(lease.run_id).last_seq == lease.last_seq


def test_a_process_that_is_to_end_is_not_held_back_by_a_silent_store(store: Flaky) -> None:
    lease, clock, leaving = begin(store), Clock(), threading.Event()
    outage_policy = StoreOutagePolicy(spool_bytes=1, is_leaving=leaving.is_set)
    with Recorder(store, lease, outage_policy, clock=clock) as recorder:
        store.gate.clear()
        recorder.put(MentorBack("m"))
        until(lambda: store.entered.is_set())
        clock.now = recorder_module.SILENT_SECONDS + 1.0
        leaving.set()
        put = threading.Thread(target=recorder.put, args=(MentorBack("m"),))
        put.start()
        put.join(10)
        is_held_back = put.is_alive()
        store.gate.set()
        assert not is_held_back
        assert not recorder.overdue


@pytest.mark.usefixtures("_impatient")
def test_what_is_read_while_the_store_is_away_is_read_again(store: Flaky) -> None:
    lease, tries, clock = begin(store), [], Clock()

    def read(until_try: int) -> int:
        tries.append(1)
        clock.now += 10.0
        if len(tries) < until_try:
            raise Unavailable("gone")
        return len(tries)

    with Recorder(store, lease, StoreOutagePolicy(patience=45.0), clock=clock) as recorder:
        assert recorder.read(lambda: read(4), lambda: None) == 4
        tries.clear()
        with pytest.raises(Stop):
            recorder.read(lambda: read(100), lambda: None)
        assert len(tries) == 5
        assert "unavailable for over 45 s" in recorder.overdue


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
    monkeypatch.setattr(stop_control, "POLL_SECONDS", 0.005)
    monkeypatch.setattr(stop_control, "HEARTBEAT_SECONDS", 0.02)


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize(
    ("desired", "kind"),
    [(DesiredState.PAUSE, StopKind.PAUSE), (DesiredState.CANCEL, StopKind.CANCEL)],
)
def test_a_wish_reaches_the_run(store: Flaky, desired: DesiredState, kind: StopKind) -> None:
    lease, stopper, heard = begin(store), StopRequest(), threading.Event()
    stopper.on_stop(heard.set)
    with RunMonitor(store, lease, stopper):
        stopper.check()
        store.set_desired(lease.run_id, desired)
        assert heard.wait(120)
        with pytest.raises(Stop) as caught:
            stopper.check()
    assert caught.value.kind is kind


@pytest.mark.usefixtures("_quick")
def test_a_service_that_died_before_the_run_began_is_missed(store: Flaky) -> None:
    """Its worker, which was importing meanwhile, has another parent by now."""
    lease, stopper, heard = begin(store), StopRequest(), threading.Event()
    stopper.on_stop(heard.set)
    with RunMonitor(store, lease, stopper, parent=os.getpid()):
        assert heard.wait(120)
    assert stopper.kind is StopKind.INTERRUPT
    assert stopper.is_leaving()


@pytest.mark.usefixtures("_quick")
def test_while_the_agent_speaks_the_store_is_asked_nothing(
    store: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, stopper, asked = begin(store), StopRequest(), threading.Event()

    def ask(*_: object) -> DesiredState:
        asked.set()
        return DesiredState.RUN

    monkeypatch.setattr(store, "desired", ask)
    monkeypatch.setattr(store, "heartbeat", ask)
    heard, calls = threading.Event(), []

    def stop() -> None:  # the side thread repeats it, so that it has gone round
        calls.append(1)
        if len(calls) > 3:
            heard.set()

    stopper.on_stop(stop)
    with RunMonitor(store, lease, stopper, silence=600.0) as monitor:
        monitor.hear(DesiredState.RUN)
        assert stopper.kind is None
        monitor.hear(DesiredState.PAUSE)
        assert stopper.kind is StopKind.PAUSE
        assert heard.wait(120)
    assert not asked.is_set()
    with RunMonitor(store, lease, StopRequest(), silence=0.02) as monitor:
        monitor.hear(DesiredState.RUN)
        assert asked.wait(120)


@pytest.mark.usefixtures("_quick")
def test_a_lost_lease_stops_the_run_and_then_the_process(store: Flaky) -> None:
    lease, stopper, ended = begin(store), StopRequest(), threading.Event()
    with RunMonitor(store, lease, stopper, on_lost=ended.set, patience=0.01):
        store.transition(lease.run_id, RunState.INTERRUPTED, "its lease ran out")
        store.claim(lease.run_id, "another", LEASE)
        assert ended.wait(120)
    assert stopper.kind is StopKind.LOST


@pytest.mark.usefixtures("_quick")
def test_the_lease_is_prolonged_and_a_store_that_is_away_is_borne(
    store: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, beats, enough = begin(store), [], threading.Event()

    def heartbeat(run_id: str, attempt: int, length: timedelta) -> DesiredState:
        beats.append((run_id, attempt, length))
        if len(beats) < 4:
            raise Unavailable("away")
        if len(beats) == 6:
            enough.set()
        return DesiredState.RUN

    monkeypatch.setattr(store, "heartbeat", heartbeat)
    stopper = StopRequest()
    with capture_logs() as logs, RunMonitor(store, lease, stopper):
        assert enough.wait(120)
    assert beats[0] == (lease.run_id, 1, stop_control.LEASE)
    assert stopper.kind is None
    assert [entry["event"] for entry in logs] == ["store_unreachable"]


@pytest.mark.usefixtures("_quick")
def test_a_store_that_is_silent_does_not_hold_up_the_end(
    store: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = begin(store)
    asked, speaks, spoke = threading.Event(), threading.Event(), threading.Event()

    def desired(run_id: str) -> DesiredState:
        asked.set()
        speaks.wait(120)
        spoke.set()
        return DesiredState.RUN

    monkeypatch.setattr(store, "desired", desired)
    with RunMonitor(store, lease, StopRequest(), patience=0.01):
        assert asked.wait(120)
    assert not spoke.is_set()
    speaks.set()


@pytest.mark.usefixtures("_quick")
def test_what_began_just_after_a_stop_is_ended_too(store: Flaky) -> None:
    lease, stopper, again = begin(store), StopRequest(), threading.Event()
    calls: list[int] = []

    def end_what_is_pending() -> None:
        calls.append(1)
        if len(calls) > 2:
            again.set()

    stopper.note(StopKind.INTERRUPT)  # as a signal handler does, which calls nobody
    with RunMonitor(store, lease, stopper):
        stopper.on_stop(end_what_is_pending)
        assert again.wait(120)
    assert stopper.kind is StopKind.INTERRUPT


def test_the_strongest_wish_holds() -> None:
    stopper = StopRequest()
    for kind in (StopKind.PAUSE, StopKind.INTERRUPT, StopKind.CANCEL, StopKind.PAUSE):
        stopper.request(kind)
    assert stopper.kind is StopKind.CANCEL
    late: list[int] = []
    stopper.on_stop(lambda: late.append(1))
    assert late == [1]
