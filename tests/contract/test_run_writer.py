"""What every `RunWriter` guarantees. Each test reads back from a store that was opened anew."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from mentorgrad.domain.annotation import RunUpdate
from mentorgrad.domain.event import (
    CheckpointSaved,
    Created,
    EventKind,
    Finished,
    MentorLost,
    Resumed,
    RunEvent,
    StageStarted,
    StateChanged,
)
from mentorgrad.domain.loss_line import LossLine
from mentorgrad.domain.query import CandidateFilter, EventQuery, View
from mentorgrad.domain.run import DesiredState, RunResult, RunState, Usage
from mentorgrad.domain.spec import MentorChoice, RunSpec
from mentorgrad.errors import (
    AlreadyExists,
    Conflict,
    InvalidInput,
    MentorgradError,
    NotFound,
    PreconditionFailed,
    ResourceExhausted,
)
from mentorgrad.wire.codec import encode_event
from run_store.open import open_store
from run_store.protocols import RunFile
from tests.support.folding import replay

MINUTE = timedelta(minutes=1)
AT_ONCE = timedelta(0)


def refused(kind: type[MentorgradError], reason: str, call: Any, *args: Any, **kwargs: Any) -> None:
    with pytest.raises(kind) as caught:
        call(*args, **kwargs)
    assert caught.value.reason == reason
    assert "\n" not in caught.value.message


def running(opened: Any, event_maker: Any, **spec: Any) -> tuple[str, Any]:
    """A claimed run and the maker of its worker's events."""
    run, _ = opened.store.create(Created(RunSpec(**spec)))
    lease = opened.store.claim(run.run_id, "worker", MINUTE)
    return run.run_id, event_maker(run.run_id, lease.last_seq, lease.attempt)


# -- create -----------------------------------------------------------------------------------


def test_create_records_a_queued_run(opened: Any) -> None:
    spec = RunSpec(
        name="first",
        seed=7,
        labels={"team": "a"},
        mentor=MentorChoice(name="small", options={"k": 3, "deep": {"x": [1, 2.5, "y"]}}),
    )
    created = Created(spec, request_id="key", versions={"torch": "2"}, task_digest="ab")
    run, is_new = opened.store.create(created)
    assert is_new
    assert opened.reopen().get_run(run.run_id) == run
    assert (run.state, run.spec, run.request_id, run.last_seq, run.attempt) == (
        RunState.QUEUED,
        spec,
        "key",
        1,
        0,
    )
    assert run.created_at is not None
    assert run.versions == {"torch": "2"}
    (event,) = opened.store.events(run.run_id)
    assert (event.payload, event.seq, event.attempt) == (created, 1, 0)


def test_create_is_idempotent_by_request_id(opened: Any) -> None:
    created = Created(RunSpec(seed=1), request_id="key")
    first, _ = opened.store.create(created)
    again, is_new = opened.reopen().create(created)
    assert not is_new
    assert again == first
    refused(
        AlreadyExists,
        "REQUEST_ID_TAKEN",
        opened.store.create,
        Created(RunSpec(seed=2), request_id="key"),
    )
    assert len(opened.store.list_runs().runs) == 1


def test_create_makes_a_request_id_where_there_is_none(opened: Any) -> None:
    one, _ = opened.store.create(Created())
    other, _ = opened.store.create(Created())
    assert one.request_id
    assert one.request_id != other.request_id
    assert one.run_id < other.run_id


def test_create_refuses_beyond_the_queue_but_finds_what_is_there(opened: Any) -> None:
    created = Created(request_id="key")
    assert opened.store.queued() == 0
    run, _ = opened.store.create(created, max_queued=1)
    assert opened.store.queued() == 1
    refused(ResourceExhausted, "QUEUE_FULL", opened.store.create, Created(), max_queued=1)
    assert opened.store.create(created, max_queued=1) == (run, False)
    opened.store.claim(run.run_id, "worker", MINUTE)
    assert opened.store.queued() == 0
    assert opened.store.create(Created(), max_queued=1)[1]


def test_create_refuses_a_request_id_that_cannot_be_stored(opened: Any) -> None:
    for bad in ("x" * 201, "a\x00b"):
        refused(InvalidInput, "INVALID_INPUT", opened.store.create, Created(request_id=bad))


def test_the_same_request_at_once_creates_one_run(opened: Any) -> None:
    results: list[tuple[Any, bool]] = []
    created = Created(request_id="key")
    threads = [
        threading.Thread(target=lambda: results.append(opened.store.create(created)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert len({run.run_id for run, _ in results}) == 1
    assert sum(is_new for _, is_new in results) == 1


def test_a_request_is_found_before_it_is_made_again(opened: Any, event_maker: Any) -> None:
    spec = RunSpec(seed=1)
    assert opened.store.find_request("key", spec) is None
    run, _ = opened.store.create(Created(spec, request_id="key"))
    opened.store.import_run(finished_log(event_maker))  # has no request_id
    store = opened.reopen()
    assert store.find_request("key", spec) == run
    assert store.find_request("other", spec) is None
    assert store.find_request("", RunSpec(name="Foreign", labels={"from": "afar"})) is None
    refused(AlreadyExists, "REQUEST_ID_TAKEN", store.find_request, "key", RunSpec(seed=2))
    for bad in ("x" * 201, "a\x00b"):
        refused(InvalidInput, "INVALID_INPUT", store.find_request, bad, spec)


# -- claim, heartbeat, desired state --------------------------------------------------------------


def test_claim_takes_a_queued_run(opened: Any) -> None:
    run, _ = opened.store.create(Created())
    lease = opened.store.claim(run.run_id, "worker", MINUTE)
    assert (lease.run_id, lease.attempt, lease.last_seq) == (run.run_id, 1, 2)
    now = opened.reopen().get_run(run.run_id)
    assert (now.state, now.attempt, now.last_seq) == (RunState.RUNNING, 1, 2)
    assert now.started_at is not None
    refused(PreconditionFailed, "TRANSITION_FORBIDDEN", opened.store.claim, run.run_id, "b", MINUTE)


def test_claim_of_an_interrupted_run_makes_the_older_attempt_stale(
    opened: Any, event_maker: Any
) -> None:
    run_id, make = running(opened, event_maker)
    opened.store.transition(run_id, RunState.INTERRUPTED, "worker died", attempt=1)
    event = make(StageStarted())
    refused(Conflict, "STALE_ATTEMPT", opened.store.append, run_id, 1, [event])
    refused(Conflict, "STALE_ATTEMPT", opened.store.heartbeat, run_id, 1, MINUTE)
    lease = opened.store.claim(run_id, "other", MINUTE)
    assert lease.attempt == 2
    refused(Conflict, "STALE_ATTEMPT", opened.store.append, run_id, 1, [event])
    refused(Conflict, "STALE_ATTEMPT", opened.store.heartbeat, run_id, 1, MINUTE)
    refused(Conflict, "STALE_ATTEMPT", opened.store.put_blob, run_id, 1, "x", b"")
    later = event_maker(run_id, lease.last_seq, 2)
    assert opened.store.append(run_id, 2, [later(StageStarted(text="second"))]) == later.seq
    assert opened.store.heartbeat(run_id, 2, MINUTE) is DesiredState.RUN


def test_desired_state_reaches_the_worker_and_a_claim_resets_it(opened: Any) -> None:
    run, _ = opened.store.create(Created())
    refused(
        PreconditionFailed,
        "TRANSITION_FORBIDDEN",
        opened.store.set_desired,
        run.run_id,
        DesiredState.PAUSE,
    )
    opened.store.claim(run.run_id, "worker", MINUTE)
    opened.store.set_desired(run.run_id, DesiredState.PAUSE)
    assert opened.reopen().desired(run.run_id) is DesiredState.PAUSE
    assert opened.store.heartbeat(run.run_id, 1, MINUTE) is DesiredState.PAUSE
    opened.store.transition(run.run_id, RunState.INTERRUPTED)
    opened.store.claim(run.run_id, "worker", MINUTE)
    assert opened.store.desired(run.run_id) is DesiredState.RUN


def test_a_lease_runs_out_unless_it_is_prolonged(opened: Any) -> None:
    run, _ = opened.store.create(Created())
    assert opened.store.expired() == ()
    opened.store.claim(run.run_id, "worker", AT_ONCE)
    assert [item.run_id for item in opened.reopen().expired()] == [run.run_id]
    opened.store.heartbeat(run.run_id, 1, MINUTE)
    assert opened.store.expired() == ()
    opened.store.heartbeat(run.run_id, 1, AT_ONCE)
    assert len(opened.store.expired()) == 1
    opened.store.transition(run.run_id, RunState.INTERRUPTED, attempt=1)
    assert opened.store.expired() == ()


# -- append -----------------------------------------------------------------------------------


def test_append_stores_events_with_their_projection(opened: Any, event_maker: Any) -> None:
    run_id, make = running(opened, event_maker)
    events = [
        make(StageStarted(text="start", device="cpu")),
        make(make.segment(1, 4)),
        make(make.scored(0, 0.7, 0.4, float("nan"), evaluations=3)),
    ]
    assert opened.store.append(run_id, 1, events) == 5
    store = opened.reopen()
    run = store.get_run(run_id)
    assert (run.last_seq, run.step, run.train_loss) == (5, 4, 0.25)
    assert (run.best_selection_loss, run.usage) == (0.4, Usage(evaluations=3))
    assert run.loss_line == LossLine((4,), (0.4,))
    assert list(store.list_runs()) == [run]
    log = list(store.events(run_id, EventQuery(view=View.FULL)))
    assert [encode_event(e) for e in log[2:]] == [encode_event(e) for e in events]
    assert run == replay(run_id, log)


def test_appending_the_same_again_is_a_no_op(opened: Any, event_maker: Any) -> None:
    run_id, make = running(opened, event_maker)
    events = [make(StageStarted()), make(make.segment(1, 2)), make(make.scored(0, 0.5))]
    opened.store.append(run_id, 1, events)
    before = opened.reopen().get_run(run_id)
    assert opened.store.append(run_id, 1, events) == before.last_seq
    assert opened.store.get_run(run_id) == before
    more = make(MentorLost("small", "gone"))
    assert opened.store.append(run_id, 1, [*events[1:], more]) == more.seq
    assert len(list(opened.store.events(run_id))) == more.seq
    assert len(opened.store.list_candidates(run_id).candidates) == 1


def test_the_last_append_may_be_repeated_though_it_ended_the_run(
    opened: Any, event_maker: Any
) -> None:
    run_id, make = running(opened, event_maker)
    end = make(Finished(RunState.SUCCEEDED, RunResult(restarts_applied=2)))
    assert opened.store.append(run_id, 1, [end]) == opened.reopen().append(run_id, 1, [end])


def test_append_refuses_seqs_that_do_not_follow(opened: Any, event_maker: Any) -> None:
    run_id, make = running(opened, event_maker)
    opened.store.append(run_id, 1, [make(make.segment(1, 2))])
    other = dataclasses.replace(make.segment(1, 2), parameters=np.zeros((2, 2, 3), np.float32))
    gap = event_maker(run_id, make.seq + 1, 1)
    wrong_tensor = event_maker(run_id, make.seq - 1, 1)
    wrong_event = event_maker(run_id, make.seq - 1, 1)
    for event in (gap(StageStarted()), wrong_tensor(other), wrong_event(StageStarted())):
        refused(Conflict, "UNEXPECTED_SEQ", opened.store.append, run_id, 1, [event])
    assert opened.reopen().get_run(run_id).last_seq == make.seq


@pytest.mark.slow
def test_append_refuses_broken_events_whole(opened: Any, event_maker: Any) -> None:
    run_id, _ = running(opened, event_maker)
    segment = event_maker.segment(1, 2)
    make = event_maker(run_id, 2, 1)
    broken: dict[str, Any] = {
        "run": lambda: dataclasses.replace(make(segment), run_id="other"),
        "attempt": lambda: make(segment, attempt=2),
        "gap": lambda: event_maker(run_id, 4, 1)(segment),
        "rows": lambda: make(dataclasses.replace(segment, snapshots=segment.snapshots[:1])),
        "naive": lambda: dataclasses.replace(
            make(segment), time=event_maker.start.replace(tzinfo=None)
        ),
        "created": lambda: make(Created()),
        "state": lambda: make(Finished(RunState.PAUSED)),
    }
    for name, bad in broken.items():
        make = event_maker(run_id, 2, 1)
        with pytest.raises(InvalidInput) as caught:
            opened.store.append(run_id, 1, [make(StageStarted()), bad()])
        assert caught.value.violations[0].field.startswith("events[1]"), name
        assert opened.store.get_run(run_id).last_seq == 2, name
    assert opened.reopen().get_run(run_id).last_seq == 2
    assert len(list(opened.store.events(run_id))) == 2


def test_append_refuses_a_forbidden_change_of_state_whole(opened: Any, event_maker: Any) -> None:
    run_id, make = running(opened, event_maker)
    events = [make(make.segment(1, 2)), make(StateChanged(RunState.QUEUED))]
    refused(PreconditionFailed, "TRANSITION_FORBIDDEN", opened.store.append, run_id, 1, events)
    assert opened.reopen().get_run(run_id).last_seq == 2
    assert opened.store.trajectory(run_id).snapshots == ()


def test_what_is_given_may_change_afterwards(opened: Any, event_maker: Any) -> None:
    run_id, make = running(opened, event_maker)
    segment = make.segment(1, 2)
    opened.store.append(run_id, 1, [make(segment)])
    segment.parameters[:] = -1
    kept = opened.store.trajectory(run_id).parameters
    assert kept is not None
    assert kept.min() == 1


def test_an_append_keeps_what_others_changed_since_the_last_one(
    opened: Any, event_maker: Any
) -> None:
    """Though a process appends to the run as it has seen it last."""
    run_id, make = running(opened, event_maker, labels={"a": "b"})
    first, other = opened.store, open_store(opened.url)
    first.append(run_id, 1, [make(make.segment(1, 2))])
    other.update_run(run_id, RunUpdate(note="looks good"))
    first.append(run_id, 1, [make(make.segment(3, 4))])
    assert (other.get_run(run_id).note, other.get_run(run_id).step) == ("looks good", 4)
    other.set_desired(run_id, DesiredState.CANCEL)
    first.append(run_id, 1, [make(make.segment(5, 6))])
    assert first.heartbeat(run_id, 1, MINUTE) is DesiredState.CANCEL
    other.transition(run_id, RunState.INTERRUPTED, attempt=1)
    assert other.get_run(run_id).state is RunState.CANCELLED
    refused(Conflict, "STALE_ATTEMPT", first.append, run_id, 1, [make(make.segment(7, 8))])
    other.close()


def test_a_finished_run_takes_nothing_more(opened: Any, event_maker: Any) -> None:
    run_id, make = running(opened, event_maker)
    result = RunResult(restarts_applied=1, usage=Usage(gradient_steps=9))
    opened.store.append(run_id, 1, [make(Finished(RunState.SUCCEEDED, result))])
    run = opened.reopen().get_run(run_id)
    assert (run.state, run.result, run.restarts_applied) == (RunState.SUCCEEDED, result, 1)
    assert run.usage.gradient_steps == 9
    assert run.finished_at is not None
    refused(Conflict, "STALE_ATTEMPT", opened.store.append, run_id, 1, [make(StageStarted())])
    refused(PreconditionFailed, "TRANSITION_FORBIDDEN", opened.store.claim, run_id, "w", MINUTE)
    for state in RunState:
        refused(PreconditionFailed, "TRANSITION_FORBIDDEN", opened.store.transition, run_id, state)


def test_a_resume_supersedes_older_attempts_after_its_checkpoint(
    opened: Any, event_maker: Any
) -> None:
    run_id, make = running(opened, event_maker)
    saved = make(make.segment(1, 2)), make(make.scored(0, 0.9, evaluations=1))
    checkpoint = make(CheckpointSaved(step=2, artifact="c1"))
    lost = make(make.segment(3, 4)), make(make.scored(0, 0.1, evaluations=2))
    opened.store.append(run_id, 1, [*saved, checkpoint, *lost])
    assert opened.store.get_run(run_id).best_selection_loss == 0.1
    opened.store.transition(run_id, RunState.INTERRUPTED, "killed", attempt=1)
    lease = opened.store.claim(run_id, "second", MINUTE)
    make = event_maker(run_id, lease.last_seq, lease.attempt)
    resumed = make(Resumed(checkpoint.seq, "killed"))
    opened.store.append(run_id, 2, [resumed])
    run = opened.reopen().get_run(run_id)
    assert (run.step, run.best_selection_loss, run.usage.evaluations) == (2, 0.9, 1)
    assert (run.state, run.attempt) == (RunState.RUNNING, 2)
    again = make(make.segment(3, 4, shape=(2, 3))), make(make.scored(0, 0.1, evaluations=2))
    opened.store.append(run_id, 2, again)
    store = opened.reopen()
    effective = list(store.events(run_id, EventQuery(effective=True)))
    assert {event.seq for event in lost}.isdisjoint({event.seq for event in effective})
    kinds = [event.kind for event in effective]
    assert kinds.count(EventKind.STATE_CHANGED) == 3
    assert kinds.count(EventKind.SEGMENT) == 2
    everything = list(store.events(run_id, EventQuery(view=View.FULL)))
    assert [event.seq for event in everything] == list(range(1, make.seq + 1))
    assert store.get_run(run_id) == replay(run_id, everything)
    assert [s.step for s in store.trajectory(run_id).snapshots] == [1, 2, 3, 4]
    found = store.list_candidates(run_id, CandidateFilter(best_first=False)).candidates
    assert [item.candidate_id for item in found] == ["s0/0", "s0/0"]
    assert [item.score.loss for item in found] == [0.9, 0.1]


def test_resuming_from_the_beginning_supersedes_everything(opened: Any, event_maker: Any) -> None:
    run_id, make = running(opened, event_maker)
    opened.store.append(run_id, 1, [make(make.segment(1, 3)), make(make.scored(0, 0.2))])
    opened.store.transition(run_id, RunState.INTERRUPTED)
    lease = opened.store.claim(run_id, "second", MINUTE)
    make = event_maker(run_id, lease.last_seq, 2)
    opened.store.append(run_id, 2, [make(Resumed(0))])
    run = opened.reopen().get_run(run_id)
    assert (run.step, run.train_loss, run.best_selection_loss) == (0, None, None)
    assert opened.store.list_candidates(run_id).candidates == ()
    assert opened.store.trajectory(run_id).snapshots == ()


LEFT = [RunState.PAUSED, RunState.INTERRUPTED]
CANCELLED = StateChanged(RunState.CANCELLED, "cancelled on request")


@pytest.mark.parametrize("left", LEFT)
def test_a_cancel_that_the_worker_did_not_hear_of_holds(
    opened: Any, event_maker: Any, left: RunState
) -> None:
    run_id, make = running(opened, event_maker)
    opened.store.set_desired(run_id, DesiredState.PAUSE)
    opened.store.set_desired(run_id, DesiredState.CANCEL)
    events = [make(make.segment(1, 2)), make(StateChanged(left, "left"))]
    assert opened.store.append(run_id, 1, events) == make.seq + 1
    assert opened.reopen().append(run_id, 1, events) == make.seq + 1  # the ack may be lost
    run = opened.store.get_run(run_id)
    assert (run.state, run.reason) == (RunState.CANCELLED, CANCELLED.reason)
    assert run.finished_at is not None
    log = list(opened.store.events(run_id, EventQuery(view=View.FULL)))
    assert [event.payload for event in log[-2:]] == [StateChanged(left, "left"), CANCELLED]
    assert run == replay(run_id, log)
    assert opened.store.desired(run_id) is DesiredState.RUN
    assert opened.store.expired() == ()
    refused(Conflict, "STALE_ATTEMPT", opened.store.append, run_id, 1, [make(StageStarted())])


@pytest.mark.parametrize("left", LEFT)
def test_a_buried_run_that_was_to_be_cancelled_is(opened: Any, left: RunState) -> None:
    run, _ = opened.store.create(Created())
    opened.store.claim(run.run_id, "worker", MINUTE)
    opened.store.set_desired(run.run_id, DesiredState.CANCEL)
    given = opened.store.transition(run.run_id, left, "died", attempt=1)
    now = opened.reopen().get_run(run.run_id)
    assert given == now
    assert (now.state, now.last_seq) == (RunState.CANCELLED, 4)
    last = list(opened.store.events(run.run_id, EventQuery(after_seq=2)))
    assert [event.payload for event in last] == [StateChanged(left, "died"), CANCELLED]


def test_a_cancel_comes_too_late_for_a_run_that_ended_and_a_pause_is_no_cancel(
    opened: Any, event_maker: Any
) -> None:
    ended, make = running(opened, event_maker)
    opened.store.set_desired(ended, DesiredState.CANCEL)
    assert opened.store.append(ended, 1, [make(Finished(RunState.SUCCEEDED, RunResult()))]) == 3
    paused, make = running(opened, event_maker)
    opened.store.set_desired(paused, DesiredState.CANCEL)
    opened.store.set_desired(paused, DesiredState.PAUSE)
    assert opened.store.append(paused, 1, [make(StateChanged(RunState.PAUSED))]) == 3
    store = opened.reopen()
    assert store.get_run(ended).state is RunState.SUCCEEDED
    assert store.get_run(paused).state is RunState.PAUSED


# -- transitions, deletion ------------------------------------------------------------------------


def test_transition_appends_a_change_of_state(opened: Any) -> None:
    run, _ = opened.store.create(Created())
    assert opened.store.transition(run.run_id, RunState.PAUSED, "later").reason == "later"
    opened.store.transition(run.run_id, RunState.QUEUED)
    opened.store.transition(run.run_id, RunState.CANCELLED, "not needed")
    now = opened.reopen().get_run(run.run_id)
    assert (now.state, now.reason, now.last_seq) == (RunState.CANCELLED, "not needed", 4)
    assert now.finished_at is not None
    assert [e.payload for e in opened.store.events(run.run_id, EventQuery(after_seq=1))] == [
        StateChanged(RunState.PAUSED, "later"),
        StateChanged(RunState.QUEUED),
        StateChanged(RunState.CANCELLED, "not needed"),
    ]


def test_transition_buries_only_the_attempt_it_means(opened: Any) -> None:
    run, _ = opened.store.create(Created())
    opened.store.claim(run.run_id, "worker", MINUTE)
    refused(
        Conflict,
        "STALE_ATTEMPT",
        opened.store.transition,
        run.run_id,
        RunState.INTERRUPTED,
        attempt=2,
    )
    assert opened.reopen().get_run(run.run_id).state is RunState.RUNNING


def test_running_is_reached_by_a_claim_alone(opened: Any) -> None:
    run, _ = opened.store.create(Created())
    refused(
        PreconditionFailed,
        "TRANSITION_FORBIDDEN",
        opened.store.transition,
        run.run_id,
        RunState.RUNNING,
    )


def test_delete_removes_everything_of_a_run(opened: Any, event_maker: Any) -> None:
    run_id, make = running(opened, event_maker, labels={"a": "b"})
    opened.store.append(run_id, 1, [make(make.segment(1, 2)), make(make.scored(0, 0.5))])
    opened.store.put_blob(run_id, 1, "file", b"x")
    refused(PreconditionFailed, "TRANSITION_FORBIDDEN", opened.store.delete, run_id)
    opened.store.append(run_id, 1, [make(Finished(RunState.FAILED, error="broken"))])
    log = list(opened.store.events(run_id, EventQuery(view=View.FULL)))
    opened.store.delete(run_id)
    store = opened.reopen()
    for call in (store.get_run, store.events, store.artifacts, store.delete):
        refused(NotFound, "RUN_NOT_FOUND", call, run_id)
    store.import_run(log)  # would collide with anything left behind
    assert store.artifacts(run_id) == ()


def test_an_unknown_run_is_not_found(opened: Any) -> None:
    store = opened.store
    calls: tuple[Any, ...] = (
        (store.claim, ("w", MINUTE)),
        (store.heartbeat, (1, MINUTE)),
        (store.desired, ()),
        (store.append, (1, [])),
        (store.transition, (RunState.CANCELLED,)),
        (store.set_desired, (DesiredState.RUN,)),
        (store.put_blob, (1, "name", b"")),
        (store.prune_checkpoints, (1, [])),
        (store.delete, ()),
        (store.progress, ()),
    )
    unknown = ("nobody", "", "a\x00b", "x" * 500, "\udcff")
    for run_id, (call, args) in itertools.product(unknown, calls):
        refused(NotFound, "RUN_NOT_FOUND", call, run_id, *args)


# -- files --------------------------------------------------------------------------------------


def test_blobs_are_replaced_listed_and_pruned(opened: Any, event_maker: Any) -> None:
    run_id, _ = running(opened, event_maker)
    put = opened.store.put_blob
    put(run_id, 1, "prompt", b"old")
    artifact = put(run_id, 1, "prompt", b"new one")
    for number in range(3):
        put(run_id, 1, f"c{number}", bytes([number]), checkpoint=True)
    opened.store.prune_checkpoints(run_id, 1, ["c2", "c9"])
    store = opened.reopen()
    assert store.artifacts(run_id) == (artifact,)
    assert artifact.size_bytes == 7
    assert store.read_artifact(run_id, "prompt") == b"new one"
    assert store.read_artifact(run_id, "c2") == b"\x02"
    for gone in ("c0", "c1"):
        refused(NotFound, "ARTIFACT_NOT_FOUND", store.read_artifact, run_id, gone)
    store.prune_checkpoints(run_id, 1, [])
    refused(NotFound, "ARTIFACT_NOT_FOUND", store.read_artifact, run_id, "c2")
    for name in ("", "a\x00", "x" * 201):
        refused(InvalidInput, "INVALID_INPUT", put, run_id, 1, name, b"")


def test_files_are_stored_with_events_or_not_at_all(opened: Any, event_maker: Any) -> None:
    run_id, make = running(opened, event_maker)
    files = [RunFile("prompt", b"new"), RunFile("c1", b"state", checkpoint=True)]
    opened.store.put_blob(run_id, 1, "prompt", b"old")
    refused(Conflict, "STALE_ATTEMPT", opened.store.append, run_id, 2, [], files)
    bad = [RunFile("a\x00", b"")]
    event = make(make.segment(1, 2))
    refused(InvalidInput, "INVALID_INPUT", opened.store.append, run_id, 1, [event], bad)
    assert opened.reopen().read_artifact(run_id, "prompt") == b"old"
    for _ in range(2):  # the answer of the first was lost
        assert opened.store.append(run_id, 1, [event], files) == event.seq
    store = opened.reopen()
    assert [store.read_artifact(run_id, file.name) for file in files] == [b"new", b"state"]
    assert [artifact.name for artifact in store.artifacts(run_id)] == ["prompt"]


def test_a_stale_worker_prunes_nothing(opened: Any, event_maker: Any) -> None:
    run_id, _ = running(opened, event_maker)
    opened.store.transition(run_id, RunState.INTERRUPTED, attempt=1)
    refused(Conflict, "STALE_ATTEMPT", opened.store.prune_checkpoints, run_id, 1, [])
    opened.store.claim(run_id, "second", MINUTE)
    opened.store.put_blob(run_id, 2, "c1", b"kept", checkpoint=True)
    refused(Conflict, "STALE_ATTEMPT", opened.store.prune_checkpoints, run_id, 1, [])
    assert opened.reopen().read_artifact(run_id, "c1") == b"kept"


# -- imports --------------------------------------------------------------------------------------


def finished_log(event_maker: Any, run_id: str = "foreign-1", request_id: str = "") -> list:
    make = event_maker(run_id)
    return [
        make(Created(RunSpec(name="Foreign", labels={"from": "afar"}), request_id)),
        make(StateChanged(RunState.RUNNING), attempt=1),
        make(make.segment(1, 3)),
        make(make.scored(0, 0.5)),
        make(CheckpointSaved(step=3)),
        make(make.segment(4, 5)),
        make(StateChanged(RunState.INTERRUPTED)),
        make(StateChanged(RunState.RUNNING), attempt=2),
        make(Resumed(5)),
        make(make.segment(4, 6)),
        make(Finished(RunState.SUCCEEDED, RunResult())),
    ]


def test_import_records_a_foreign_run_once(opened: Any, event_maker: Any) -> None:
    log = finished_log(event_maker, request_id="theirs")
    run = opened.store.import_run(log)
    assert run == replay("foreign-1", log)
    store = opened.reopen()
    assert store.get_run("foreign-1") == run
    assert store.import_run(log) == run
    exported = list(store.events("foreign-1", EventQuery(view=View.FULL)))
    assert [encode_event(e) for e in exported] == [encode_event(e) for e in log]
    assert [s.step for s in store.trajectory("foreign-1").snapshots] == [1, 2, 3, 4, 5, 6]
    changed = [*log[:2], dataclasses.replace(log[2], payload=event_maker.segment(2, 4)), *log[3:]]
    refused(AlreadyExists, "ALREADY_EXISTS", store.import_run, changed)
    theirs = finished_log(event_maker, "foreign-2", "theirs")
    refused(AlreadyExists, "REQUEST_ID_TAKEN", store.import_run, theirs)
    assert [item.run_id for item in store.list_runs().runs] == ["foreign-1"]


def test_import_of_runs_without_request_ids(opened: Any, event_maker: Any) -> None:
    for run_id in ("foreign-1", "foreign-2"):
        opened.store.import_run(finished_log(event_maker, run_id))
    assert len(opened.reopen().list_runs().runs) == 2


CUTS: list[tuple[Any, str]] = [
    (lambda log: [], "events"),
    (lambda log: log[:-1], "events"),
    (lambda log: log[1:], "events[0].seq"),
    (lambda log: [*log[:2], *log[3:]], "events[2].seq"),
    (lambda log: [*log, dataclasses.replace(log[-1], seq=12)], "events[11]"),
    (lambda log: [log[0], dataclasses.replace(log[1], run_id="b"), *log[2:]], "events[1]."),
    (lambda log: [dataclasses.replace(log[0], run_id="no spaces"), *log[1:]], "events[0]."),
    (lambda log: [log[0], *(dataclasses.replace(e, attempt=9 - e.seq) for e in log[1:])], ""),
    (
        lambda log: [
            dataclasses.replace(log[0], payload=Created(RunSpec(seed=-1))),
            *log[1:],
        ],
        "events[0].created.spec.seed",
    ),
]


@pytest.mark.slow
def test_import_refuses_what_is_no_log(opened: Any, event_maker: Any) -> None:
    for cut, field in CUTS:
        log: list[RunEvent] = cut(finished_log(event_maker))
        with pytest.raises(InvalidInput) as caught:
            opened.store.import_run(log)
        assert caught.value.violations[0].field.startswith(field)
        assert opened.store.list_runs().runs == ()
    assert opened.reopen().list_runs().runs == ()


def resuming_log(event_maker: Any, attempts: int) -> list[RunEvent]:
    """Attempts that each lose all they did."""
    make = event_maker("foreign-1")
    log = [make(Created()), make(StateChanged(RunState.RUNNING), attempt=1)]
    for attempt in range(2, attempts + 1):
        log += [make(make.scored(0, 0.1)), make(StateChanged(RunState.INTERRUPTED))]
        log += [make(StateChanged(RunState.RUNNING), attempt=attempt), make(Resumed(0))]
    return [*log, make(make.scored(0, 0.7)), make(Finished(RunState.FAILED))]


def test_import_of_a_run_that_resumed_often(opened: Any, event_maker: Any) -> None:
    log = resuming_log(event_maker, 40)
    assert opened.store.import_run(log).best_selection_loss == 0.7
    store = opened.reopen()
    assert len(store.list_candidates("foreign-1").candidates) == 1
    kinds = [event.kind for event in store.events("foreign-1", EventQuery(effective=True))]
    assert kinds.count(EventKind.CANDIDATES_SCORED) == 1


def test_import_refuses_endless_resumes(opened: Any, event_maker: Any) -> None:
    log = resuming_log(event_maker, 1001)
    first = next(index for index, event in enumerate(log) if event.attempt == 1001)
    make = event_maker("foreign-1", 2, 1)
    one_attempt = [*log[:2], *(make(Resumed(0)) for _ in range(1001))]
    for bad, field in ((log, f"events[{first}].attempt"), (one_attempt, "events[1002]")):
        with pytest.raises(InvalidInput) as caught:
            opened.store.import_run(bad)
        assert [item.field for item in caught.value.violations] == [field]
