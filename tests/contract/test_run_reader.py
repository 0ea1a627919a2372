"""What every `RunReader` guarantees, the SDK's client over gRPC among them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mentorgrad.client import BackgroundLoop, Client
from mentorgrad.domain.event import (
    CheckpointSaved,
    Created,
    EventKind,
    Finished,
    MentorBack,
    MentorLost,
    Resumed,
    RunEvent,
    Segment,
    StageStarted,
    StateChanged,
)
from mentorgrad.domain.objective import Function
from mentorgrad.domain.query import (
    CandidateFilter,
    EventQuery,
    RunFilter,
    RunOrder,
    View,
)
from mentorgrad.domain.run import CandidateSource, RunState
from mentorgrad.domain.spec import MentorChoice, RunSpec, Task
from mentorgrad.errors import InvalidInput, NotFound
from mentorgrad.v1 import (
    history_service_pb2_grpc,
    trainer_service_pb2,
    trainer_service_pb2_grpc,
)
from mentorgrad.wire import codec
from run_store.open import open_store
from run_store.protocols import RunReader, RunStore
from run_store.servicer import HistoryServicer
from run_store.temporary_store import TemporaryRunStore
from service_common.server import Server

MINUTE = timedelta(minutes=1)


class Downloads(trainer_service_pb2_grpc.TrainerServiceServicer):
    """Files are served by the trainer's service; this much of it is the reader's side."""

    def __init__(self, seen: Callable[[], RunStore]) -> None:
        self._seen = seen

    async def DownloadArtifact(  # noqa: N802
        self, request: Any, context: Any
    ) -> AsyncIterator[trainer_service_pb2.DownloadArtifactResponse]:
        store = self._seen()
        data = store.read_artifact(request.run_id, request.name)
        (artifact,) = (a for a in store.artifacts(request.run_id) if a.name == request.name)
        yield trainer_service_pb2.DownloadArtifactResponse(
            artifact=codec.to_message(artifact), chunk=data
        )


@dataclass
class World:
    """A store to write to, and a reader of it."""

    store: RunStore
    reader: RunReader


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[list[RunStore], Client]]:
    """A real server, which shows the last of some stores, and its client.

    It runs on the client's own event loop: grpc's asyncio has one poller a process.
    """
    unfollowed = TemporaryRunStore()
    stores: list[RunStore] = [unfollowed]
    loop = BackgroundLoop.acquire()

    async def serve() -> Server:
        server = Server("127.0.0.1:0", [])
        history_service_pb2_grpc.add_HistoryServiceServicer_to_server(
            HistoryServicer(unfollowed, lambda: stores[-1]), server.grpc
        )
        trainer_service_pb2_grpc.add_TrainerServiceServicer_to_server(
            Downloads(lambda: stores[-1]), server.grpc
        )
        await server.start()
        return server

    server = loop.run(serve())
    with Client(server.address) as client:
        yield stores, client
    loop.run(server.stop(0))
    loop.release()
    unfollowed.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow), "grpc"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    on_postgres = request.param == "postgres"
    sqlite = f"sqlite:///{tmp_path}/runs.db"
    store = open_store(request.getfixturevalue("postgres_store_url") if on_postgres else sqlite)
    if request.param == "grpc":
        stores, client = request.getfixturevalue("served")
        stores.append(store)
        yield World(store, client)
        stores.pop()
    else:
        yield World(store, store)
    store.close()


def started(world: World, event_maker: Any, **spec: Any) -> tuple[str, Any]:
    run, _ = world.store.create(Created(RunSpec(**spec)))
    lease = world.store.claim(run.run_id, "worker", MINUTE)
    return run.run_id, event_maker(run.run_id, lease.last_seq, lease.attempt)


def put(world: World, make: Any, *payloads: Any) -> list[RunEvent]:
    events = [make(payload) for payload in payloads]
    world.store.append(make.run_id, make.attempt, events)
    return events


def resume(world: World, make: Any, event_maker: Any, checkpoint_seq: int) -> Any:
    world.store.transition(make.run_id, RunState.INTERRUPTED)
    lease = world.store.claim(make.run_id, "next", MINUTE)
    later = event_maker(make.run_id, lease.last_seq, lease.attempt)
    put(world, later, Resumed(checkpoint_seq))
    return later


def same(events: Any, expected: Any) -> bool:
    return [codec.encode_event(e) for e in events] == [codec.encode_event(e) for e in expected]


# -- stored events ------------------------------------------------------------------------------


@pytest.mark.slow
def test_stored_events_are_the_events(world: World, event_maker: Any) -> None:
    run_id, make = started(world, event_maker)
    checkpoint = put(world, make, make.segment(1, 3), CheckpointSaved(3, "a"))[-1]
    put(world, make, make.segment(4, 5), make.scored(0, 0.5))
    put(world, resume(world, make, event_maker, checkpoint.seq), MentorLost("m"))
    queries = (
        EventQuery(),
        EventQuery(effective=True, after_seq=2),
        EventQuery(kinds=(EventKind.SEGMENT, EventKind.RESUMED)),
    )
    for view, asked in itertools.product(View, queries):
        query = dataclasses.replace(asked, view=view)
        stored = list(world.store.stored_events(run_id, query))
        expected = list(world.reader.events(run_id, query))
        assert same((event.decoded() for event in stored), expected)
        assert [(e.seq, e.kind) for e in stored] == [(e.seq, e.kind) for e in expected]
        for event, message in zip(stored, map(codec.to_message, expected), strict=True):
            written = type(message)()
            event.write(written)
            assert written == message
            assert event.size > 0
    with pytest.raises(NotFound):
        world.store.stored_events("nobody")


# -- runs ---------------------------------------------------------------------------------------


def test_get_run_is_what_the_writer_saw(world: World, event_maker: Any) -> None:
    run_id, make = started(world, event_maker, name="one", labels={"a": "b"})
    put(world, make, make.segment(1, 3), make.scored(0, 0.5))
    run = world.reader.get_run(run_id)
    assert run == world.store.get_run(run_id)
    assert (run.step, run.best_selection_loss) == (3, 0.5)


def test_an_unknown_run_is_not_found(world: World) -> None:
    reader = world.reader
    calls = (
        reader.get_run,
        lambda name: list(reader.events(name)),
        reader.trajectory,
        reader.list_candidates,
        reader.artifacts,
        lambda name: reader.read_artifact(name, "file"),
    )
    for run_id, call in itertools.product(("nobody", "", "a\x00b", "x" * 500), calls):
        with pytest.raises(NotFound) as caught:
            call(run_id)
        assert caught.value.reason == "RUN_NOT_FOUND"


def test_list_runs_filters(world: World) -> None:
    specs = {
        "plain": RunSpec(name="Plain Tuning", labels={"team": "a", "x": "1"}),
        "mentor": RunSpec(name="with mentor", mentor=MentorChoice(name="small"), labels={"x": "2"}),
        "function": RunSpec(name="100%_Ünique", objective=Function(), labels={"team": "a"}),
        "other": RunSpec(name="", task=Task(name="news")),
    }
    ids = {name: world.store.create(Created(spec))[0].run_id for name, spec in specs.items()}
    world.store.claim(ids["mentor"], "w", MINUTE)
    world.store.transition(ids["other"], RunState.CANCELLED)
    created = world.store.get_run(ids["function"]).created_at
    assert created is not None
    cases: list[tuple[RunFilter, set[str]]] = [
        (RunFilter(), set(specs)),
        (RunFilter(states=(RunState.RUNNING, RunState.CANCELLED)), {"mentor", "other"}),
        (RunFilter(states=(RunState.FAILED,)), set()),
        (RunFilter(objective="function"), {"function"}),
        (RunFilter(objective="label_prompt"), {"plain", "mentor", "other"}),
        (RunFilter(task="tickets"), {"plain", "mentor"}),
        (RunFilter(mentor="small"), {"mentor"}),
        (RunFilter(name_contains="TUN"), {"plain"}),
        (RunFilter(name_contains="%_ü"), {"function"}),
        (RunFilter(name_contains="_"), {"function"}),
        (RunFilter(labels={"team": "a"}), {"plain", "function"}),
        (RunFilter(labels={"team": "a", "x": "1"}), {"plain"}),
        (RunFilter(labels={"team": "b"}), set()),
        (RunFilter(created_after=created), {"function", "other"}),
        (RunFilter(created_before=created), {"plain", "mentor"}),
        (RunFilter(states=(RunState.QUEUED,), labels={"team": "a"}, task="tickets"), {"plain"}),
    ]
    for wanted, expected in cases:
        found = {run.run_id for run in world.reader.list_runs(wanted).runs}
        assert found == {ids[name] for name in expected}, wanted


@pytest.mark.slow
def test_list_runs_orders_and_pages(world: World, event_maker: Any) -> None:
    losses = [0.5, None, 0.25, 0.5, -1.0, None, 7.5]
    ids = []
    for loss in losses:
        run_id, make = started(world, event_maker)
        ids.append(run_id)
        if loss is not None:
            put(world, make, make.scored(0, loss, float("inf")))
    by_loss = [ids[i] for i in (4, 2, 0, 3, 6, 1, 5)]
    for order, expected in (
        (RunOrder.OLDEST, ids),
        (RunOrder.NEWEST, ids[::-1]),
        (RunOrder.BEST_SELECTION_LOSS, by_loss),
    ):
        for size in (1, 3, 7):
            found, token = [], ""
            for _ in range(len(ids)):
                page = world.reader.list_runs(order=order, page_size=size, page_token=token)
                assert len(page.runs) <= size
                found += [run.run_id for run in page.runs]
                token = page.next_page_token
                if not token:
                    break
            assert found == expected, (order, size)


def test_pages_end_early_where_entries_are_large(
    world: World, event_maker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand runs of a megabyte each are no answer; whatever is asked for, nothing is lost."""
    monkeypatch.setattr("run_store.paging.PAGE_BYTES", 2_500)
    monkeypatch.setattr("run_store.paging.EVENTS_BYTES", 2_500)
    ids = [
        world.store.create(Created(RunSpec(name="x" * size)))[0].run_id
        for size in (900, 900, 2_000, 2_000, 10, 10)
    ]
    found: list[list[str]] = []
    token = ""
    while token or not found:
        page = world.reader.list_runs(order=RunOrder.OLDEST, page_size=1000, page_token=token)
        found.append([run.run_id for run in page.runs])
        token = page.next_page_token
    assert list(itertools.chain(*found)) == ids
    assert [len(page) for page in found] == [2, 1, 1, 2]

    run_id, make = started(world, event_maker)
    put(world, make, make.scored(0, *range(5), text="y" * 1_000))
    put(world, make, *(StageStarted(n, 0, "z" * 1_000) for n in range(40)))
    sizes, token = [], ""
    while token or not sizes:
        page = world.reader.list_candidates(run_id, page_size=1000, page_token=token)
        sizes.append(len(page.candidates))
        token = page.next_page_token
    assert sizes == [2, 2, 1]
    seqs = [event.seq for event in world.reader.events(run_id)]
    assert seqs == list(range(1, make.seq + 1))


def test_pages_stay_right_while_runs_are_added(world: World) -> None:
    ids = [world.store.create(Created())[0].run_id for _ in range(4)]
    first = world.reader.list_runs(page_size=2)
    world.store.create(Created())
    world.store.transition(ids[3], RunState.CANCELLED)
    world.store.delete(ids[3])
    second = world.reader.list_runs(page_size=2, page_token=first.next_page_token)
    assert [run.run_id for run in (*first.runs, *second.runs)] == ids[::-1]


def test_a_page_size_out_of_bounds_is_refused(world: World) -> None:
    run, _ = world.store.create(Created())
    calls = (
        lambda size: world.reader.list_runs(page_size=size),
        lambda size: world.reader.list_candidates(run.run_id, page_size=size),
    )
    # 0 means the default on the wire.
    sizes = (2**30 if isinstance(world.reader, Client) else 0, -1, 1001)
    for size, call in itertools.product(sizes, calls):
        with pytest.raises(InvalidInput) as caught:
            call(size)
        assert caught.value.violations[0].field == "page_size"


def test_a_bad_page_token_is_refused(world: World, event_maker: Any) -> None:
    run_id, make = started(world, event_maker)
    world.store.create(Created())
    put(world, make, make.scored(0, 0.5, 0.6))
    good = world.reader.list_runs(page_size=1).next_page_token
    candidates = world.reader.list_candidates(run_id, page_size=1).next_page_token
    assert good
    assert candidates
    malformed = [
        lambda: world.reader.list_runs(page_size=1, page_token="nonsense"),
        lambda: world.reader.list_runs(page_size=1, page_token=good[:-4]),
        lambda: world.reader.list_runs(page_size=1, page_token="é"),
    ]
    # Positions of another form: where they come from cannot always be told.
    of_another_form = [
        lambda: world.reader.list_runs(page_size=1, page_token=candidates),
        lambda: world.reader.list_candidates(run_id, page_size=1, page_token=good),
        lambda: world.reader.list_candidates(
            run_id, CandidateFilter(best_first=False), 1, candidates
        ),
    ]
    of_another_query = [
        lambda: world.reader.list_runs(RunFilter(task="x"), page_size=1, page_token=good),
        lambda: world.reader.list_runs(order=RunOrder.OLDEST, page_size=1, page_token=good),
    ]
    not_ours = "was not issued by this service"
    other = "belongs to another query; start again from the first page"
    for calls, allowed in (
        (malformed, {not_ours}),
        (of_another_form, {not_ours, other}),
        (of_another_query, {other}),
    ):
        for call in calls:
            with pytest.raises(InvalidInput) as caught:
                call()
            assert caught.value.reason == "BAD_PAGE_TOKEN"
            (violation,) = caught.value.violations
            assert violation.field == "page_token"
            assert violation.description in allowed
            assert violation.description in caught.value.message


# -- events ---------------------------------------------------------------------------------------


def test_events_come_back_as_they_were_written(world: World, event_maker: Any) -> None:
    run_id, make = started(world, event_maker)
    events = put(
        world,
        make,
        StageStarted(0, 0, "words", "cpu"),
        make.segment(1, 3),
        make.segment(4, 5, shape=None),
        make.scored(0, 0.5, float("nan")),
        Finished(RunState.FAILED, error="why"),
    )
    full = list(world.reader.events(run_id, EventQuery(view=View.FULL)))
    assert [event.seq for event in full] == [1, 2, 3, 4, 5, 6, 7]
    assert same(full[2:], events)
    summary = list(world.reader.events(run_id))
    assert same(summary, [event.summary() for event in full])
    assert isinstance(summary[3].payload, Segment)
    assert summary[3].payload.parameters is None


def test_events_by_number_and_kind(world: World, event_maker: Any) -> None:
    run_id, make = started(world, event_maker)
    put(world, make, MentorLost("m", "x"), make.segment(1, 1), MentorBack("m"), make.segment(2, 2))

    def seqs(**query: Any) -> list[int]:
        return [event.seq for event in world.reader.events(run_id, EventQuery(**query))]

    assert seqs(after_seq=4) == [5, 6]
    assert seqs(after_seq=6) == []
    assert seqs(after_seq=2**62) == []
    assert seqs(kinds=(EventKind.SEGMENT,)) == [4, 6]
    assert seqs(kinds=(EventKind.SEGMENT,), view=View.FULL, after_seq=4) == [6]
    assert seqs(kinds=(EventKind.MENTOR_LOST, EventKind.MENTOR_BACK)) == [3, 5]
    assert seqs(kinds=(EventKind.FINISHED,)) == []


@pytest.mark.slow
def test_events_of_a_long_run_are_lazy_and_whole(world: World, event_maker: Any) -> None:
    run_id, make = started(world, event_maker)
    put(world, make, *(make.segment(step, step) for step in range(1, 201)))
    for view in View:
        query = EventQuery(view=view, kinds=(EventKind.SEGMENT,))
        found = list(world.reader.events(run_id, query))
        assert [event.payload.step_end for event in found] == list(range(1, 201))  # type: ignore[union-attr]
    few = list(itertools.islice(iter(world.reader.events(run_id)), 3))
    assert [event.seq for event in few] == [1, 2, 3]


def test_effective_events_leave_out_what_resumes_superseded(world: World, event_maker: Any) -> None:
    run_id, make = started(world, event_maker)
    first = put(world, make, make.segment(1, 2), CheckpointSaved(2), make.segment(3, 4))
    make = resume(world, make, event_maker, first[1].seq)
    second = put(world, make, make.segment(3, 3), CheckpointSaved(3), make.segment(4, 4))
    make = resume(world, make, event_maker, second[1].seq)
    third = put(world, make, make.segment(4, 6))
    wanted = [first[0], second[0], third[0]]
    for view in View:
        query = EventQuery(kinds=(EventKind.SEGMENT,), effective=True, view=view)
        found = world.reader.events(run_id, query)
        assert same(found, [e if view is View.FULL else e.summary() for e in wanted])
    kept = list(world.reader.events(run_id, EventQuery(effective=True)))
    assert sum(isinstance(event.payload, StateChanged) for event in kept) == 5
    assert sum(isinstance(event.payload, Resumed) for event in kept) == 2
    assert len(list(world.reader.events(run_id))) == make.seq == len(kept) + 2


# -- trajectory -----------------------------------------------------------------------------------


def test_trajectory_is_the_effective_snapshots_in_order(world: World, event_maker: Any) -> None:
    run_id, make = started(world, event_maker)
    saved = put(world, make, make.segment(1, 3), CheckpointSaved(3), make.segment(4, 9))
    make = resume(world, make, event_maker, saved[1].seq)
    put(world, make, make.segment(4, 5), make.segment(6, 8, stage=1))
    found = world.reader.trajectory(run_id)
    assert [snapshot.step for snapshot in found.snapshots] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert found.stages == (0, 0, 0, 0, 0, 1, 1, 1)
    assert found.parameters is not None
    assert found.parameters.dtype == np.float32
    expected = np.stack([np.full((2, 3), step) for step in range(1, 9)])
    np.testing.assert_array_equal(found.parameters, expected)
    assert found.snapshots[1] == make.segment(2, 2).snapshots[0]
    light = world.reader.trajectory(run_id, view=View.SUMMARY)
    assert light == dataclasses.replace(found, parameters=None)


@pytest.mark.slow
def test_trajectory_is_thinned_evenly(world: World, event_maker: Any) -> None:
    run_id, make = started(world, event_maker)
    put(world, make, make.segment(1, 4), make.segment(5, 5), make.segment(6, 10, stage=1))
    for points in (1, 2, 3, 7, 10, 50):
        found = world.reader.trajectory(run_id, max_points=points)
        steps = [snapshot.step for snapshot in found.snapshots]
        assert len(steps) == min(points, 10)
        assert steps[-1] == 10
        assert points == 1 or steps[0] == 1
        gaps = np.diff(steps)
        assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1
        assert found.parameters is not None
        assert found.parameters[:, 0, 0].tolist() == steps


def test_a_trajectory_without_parameters(world: World, event_maker: Any) -> None:
    run_id, make = started(world, event_maker)
    assert world.reader.trajectory(run_id).snapshots == ()
    put(world, make, make.segment(1, 4, shape=None))
    found = world.reader.trajectory(run_id, max_points=2)
    assert [snapshot.step for snapshot in found.snapshots] == [1, 4]
    assert found.parameters is None
    with pytest.raises(InvalidInput) as caught:
        world.reader.trajectory(run_id, max_points=-1)
    assert caught.value.violations[0].field == "max_points"


def test_a_trajectory_of_large_parameters(world: World, event_maker: Any) -> None:
    run_id, make = started(world, event_maker)
    shape = (8, 4096)  # 128 KiB a snapshot, 2.5 MiB a segment
    put(world, make, make.segment(1, 20, shape=shape))
    found = world.reader.trajectory(run_id).parameters
    assert found is not None
    assert found.shape == (20, *shape)
    assert found[:, 3, 7].tolist() == list(range(1, 21))


# -- candidates -----------------------------------------------------------------------------------


def test_list_candidates_filters_orders_and_pages(world: World, event_maker: Any) -> None:
    run_id, make = started(world, event_maker)
    nan, words, proposal = float("nan"), CandidateSource.PROJECTION, CandidateSource.PROPOSAL
    put(
        world,
        make,
        make.scored(0, 0.5, nan, 0.2, text="soft", filled=(1, 2), parents=("a",)),
        make.scored(0, 0.5, 0.3, source=words),
        make.scored(1, 0.4, 0.2, float("inf"), source=proposal),
    )

    def losses(size: int = 50, **wanted: Any) -> list[float]:
        found, token = [], ""
        for _ in range(20):
            page = world.reader.list_candidates(run_id, CandidateFilter(**wanted), size, token)
            found += [item.score.loss for item in page.candidates]
            token = page.next_page_token
            if not token:
                return found
        raise AssertionError("pages without end")

    for size in (1, 3, 8):
        best = losses(size)
        assert best[:6] == [0.2, 0.2, 0.3, 0.4, 0.5, 0.5]
        assert str(best[6:]) == "[nan, inf]"
        assert str(losses(size, best_first=False)) == str(
            [0.5, nan, 0.2, 0.5, 0.3, 0.4, 0.2, float("inf")]
        )
    assert losses(sources=(words,)) == [0.3, 0.5]
    assert losses(sources=(words, proposal), stage=1) == [0.2, 0.4, float("inf")]
    assert losses(stage=5) == []
    first = world.reader.list_candidates(run_id, page_size=1).candidates[0]
    assert (first.candidate_id, first.text, first.filled, first.parents) == (
        "s0/2",
        "soft",
        (1, 2),
        ("a",),
    )


def test_superseded_candidates_are_not_listed(world: World, event_maker: Any) -> None:
    run_id, make = started(world, event_maker)
    saved = put(world, make, make.scored(0, 0.5), CheckpointSaved(1), make.scored(1, 0.1))
    make = resume(world, make, event_maker, saved[1].seq)
    put(world, make, make.scored(1, 0.3))
    found = world.reader.list_candidates(run_id).candidates
    assert [(c.candidate_id, c.score.loss) for c in found] == [("s1/0", 0.3), ("s0/0", 0.5)]


# -- files ----------------------------------------------------------------------------------------


def test_artifacts_are_listed_by_name_and_read(world: World, event_maker: Any) -> None:
    run_id, _ = started(world, event_maker)
    assert world.reader.artifacts(run_id) == ()
    b = world.store.put_blob(run_id, 1, "b.json", b"{}")
    a = world.store.put_blob(run_id, 1, "a.safetensors", bytes(range(256)) * 40)
    world.store.put_blob(run_id, 1, "c", b"state", checkpoint=True)
    assert world.reader.artifacts(run_id) == (a, b)
    assert world.reader.read_artifact(run_id, "a.safetensors") == bytes(range(256)) * 40
    with pytest.raises(NotFound) as caught:
        world.reader.read_artifact(run_id, "nothing")
    assert caught.value.reason == "ARTIFACT_NOT_FOUND"
