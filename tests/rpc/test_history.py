"""HistoryService on a real server: what is asked for arrives, live runs included."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog

from mentorgrad.domain.event import Created, EventKind, Finished, RunEvent
from mentorgrad.domain.objective import Function
from mentorgrad.domain.query import EventQuery, View
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import MentorChoice, RunSpec
from mentorgrad.errors import InternalError, InvalidInput, MentorgradError, NotFound, Unavailable
from mentorgrad.v1 import event_pb2, history_service_pb2_grpc, query_pb2
from mentorgrad.v1 import history_service_pb2 as pb
from mentorgrad.wire import codec, tensors
from mentorgrad.wire.channels import stream_channel
from mentorgrad.wire.error_mapping import from_rpc_error
from run_store import tailer
from run_store.open import open_store
from run_store.protocols import RunStore
from run_store.servicer import SERVICE_NAME, HistoryServicer
from service_common.server import Server

MINUTE = timedelta(minutes=1)


class Watch:
    """One StreamEvents call that is read bit by bit."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._messages = aiter(call)

    async def take(self, count: int) -> list[RunEvent]:
        return [
            codec.from_message(RunEvent, (await anext(self._messages)).event) for _ in range(count)
        ]

    async def rest(self) -> list[RunEvent]:
        return [codec.from_message(RunEvent, message.event) async for message in self._messages]

    def cancel(self) -> None:
        self._call.cancel()


class Service:
    """A server over a store, and a stub to ask it."""

    def __init__(self, store: RunStore) -> None:
        self.store = store
        self.servicer = HistoryServicer(store, lambda: store)
        self.server = Server("127.0.0.1:0", [SERVICE_NAME])
        history_service_pb2_grpc.add_HistoryServiceServicer_to_server(
            self.servicer, self.server.grpc
        )
        self.stub: Any = None

    @property
    def watched(self) -> dict[str, Any]:
        return self.servicer._tailers._watched

    async def refused(self, call: Any) -> MentorgradError:
        if not isinstance(call, Watch) and hasattr(call, "__aiter__"):
            call = Watch(call)
        with pytest.raises(grpc.RpcError) as caught:
            await (call.rest() if isinstance(call, Watch) else call)
        return from_rpc_error(caught.value)

    def watch(self, run_id: str, **fields: Any) -> Watch:
        request = pb.StreamEventsRequest(run_id=run_id, follow=True, **fields)
        return Watch(self.stub.StreamEvents(request, timeout=120))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    found = open_store(f"sqlite:///{tmp_path}/runs.db")
    yield found
    found.close()


@pytest.fixture
async def service(store: RunStore) -> AsyncIterator[Service]:
    found = Service(store)
    address = await found.server.start()
    async with stream_channel(address) as channel:
        found.stub = history_service_pb2_grpc.HistoryServiceStub(channel)
        yield found
    await found.server.stop(0)


class Worker:
    """A claimed run and its events."""

    def __init__(self, store: RunStore, event_maker: Any, **spec: Any) -> None:
        self.store = store
        run, _ = store.create(Created(RunSpec(**spec)))
        lease = store.claim(run.run_id, "worker", MINUTE)
        self.run_id = run.run_id
        self.make = event_maker(run.run_id, lease.last_seq, lease.attempt)

    def put(self, *payloads: Any) -> None:
        self.store.append(
            self.run_id, self.make.attempt, [self.make(payload) for payload in payloads]
        )

    def segment(self, step: int) -> None:
        self.put(self.make.segment(step, step))

    def finish(self) -> None:
        self.put(Finished(RunState.FAILED, error="enough"))


@pytest.fixture
def worker(store: RunStore, event_maker: Any) -> Worker:
    return Worker(store, event_maker)


async def eventually(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.02)


# -- asking --------------------------------------------------------------------------------------


async def test_an_unknown_run_is_not_found_everywhere(service: Service) -> None:
    stub = service.stub
    for call in (
        stub.GetRun(pb.GetRunRequest(run_id="nobody")),
        stub.StreamEvents(pb.StreamEventsRequest(run_id="nobody")),
        service.watch("nobody"),
        stub.GetTrajectory(pb.GetTrajectoryRequest(run_id="nobody")),
        stub.ListCandidates(pb.ListCandidatesRequest(run_id="nobody")),
        stub.CompareRuns(pb.CompareRunsRequest(run_ids=["nobody"])),
        stub.ListArtifacts(pb.ListArtifactsRequest(run_id="nobody")),
        stub.ExportRun(pb.ExportRunRequest(run_id="nobody")),
    ):
        error = await service.refused(call)
        assert isinstance(error, NotFound)
        assert error.reason == "RUN_NOT_FOUND"
        assert "'nobody'" in error.message
    assert service.watched == {}


async def test_bad_input_names_its_field(service: Service, worker: Worker) -> None:
    stub, run_id = service.stub, worker.run_id
    cases = [
        (stub.ListRuns(pb.ListRunsRequest(page_size=1001)), "page_size"),
        (stub.ListRuns(pb.ListRunsRequest(page_size=-1)), "page_size"),
        (stub.ListRuns(pb.ListRunsRequest(page_token="xyz")), "page_token"),
        (stub.ListRuns(pb.ListRunsRequest(order=77)), "order"),
        (stub.ListRuns(pb.ListRunsRequest(filter={"states": [1, 99]})), "filter.states[1]"),
        (stub.ListRuns(pb.ListRunsRequest(filter={"task": "x" * 101})), "filter.task"),
        (stub.ListRuns(pb.ListRunsRequest(filter={"name_contains": "\0"})), "filter.name_contains"),
        (stub.ListRuns(pb.ListRunsRequest(filter={"name_pattern": "a("})), "filter.name_pattern"),
        (
            stub.ListRuns(pb.ListRunsRequest(filter={"created_after": {"seconds": 10**15}})),
            "filter.created_after",
        ),
        (stub.StreamEvents(pb.StreamEventsRequest(run_id=run_id, after_seq=-1)), "after_seq"),
        (stub.StreamEvents(pb.StreamEventsRequest(run_id=run_id, kinds=[4, 50])), "kinds[1]"),
        (stub.StreamEvents(pb.StreamEventsRequest(run_id=run_id, kinds=[99] * 65)), "kinds"),
        (stub.StreamEvents(pb.StreamEventsRequest(run_id=run_id, view=9)), "view"),
        (stub.GetTrajectory(pb.GetTrajectoryRequest(run_id=run_id, max_points=-5)), "max_points"),
        (
            stub.ListCandidates(pb.ListCandidatesRequest(run_id=run_id, filter={"stage": -1})),
            "filter.stage",
        ),
        (
            stub.ListCandidates(pb.ListCandidatesRequest(run_id=run_id, page_token="?")),
            "page_token",
        ),
        (stub.CompareRuns(pb.CompareRunsRequest()), "run_ids"),
        (stub.CompareRuns(pb.CompareRunsRequest(run_ids=["a"] * 101)), "run_ids"),
    ]
    for call, field in cases:
        error = await service.refused(call)
        assert isinstance(error, InvalidInput), field
        assert [violation.field for violation in error.violations] == [field]
        assert error.reason == ("BAD_PAGE_TOKEN" if field == "page_token" else "INVALID_INPUT")


async def test_compare_runs_shows_where_specs_differ(
    service: Service, store: RunStore, event_maker: Any
) -> None:
    specs = [
        RunSpec(seed=1, labels={"arm": "a"}),
        RunSpec(seed=1, mentor=MentorChoice(name="small", options={"k": 3})),
        RunSpec(seed=1, objective=Function(dimensions=3)),
    ]
    ids = [store.create(Created(spec))[0].run_id for spec in specs]
    answer = await service.stub.CompareRuns(pb.CompareRunsRequest(run_ids=ids))
    assert [run.run_id for run in answer.runs] == ids
    found = {d.field: [json.loads(v) for v in d.values] for d in answer.differences}
    assert found["mentor.name"] == ["none", "small", "none"]
    assert found["mentor.options.k"] == [None, 3, None]
    assert found["labels.arm"] == ["a", None, None]
    assert found["objective.function.dimensions"] == [None, None, 3]
    assert found["objective.label_prompt.n_tokens"] == [8, 8, None]
    assert "seed" not in found


async def test_a_trajectory_comes_in_modest_pieces(service: Service, worker: Worker) -> None:
    worker.put(worker.make.segment(1, 12, shape=(64, 1024)))  # 256 KiB a snapshot
    worker.put(worker.make.segment(13, 14, stage=1, shape=(64, 1024)))
    request = pb.GetTrajectoryRequest(run_id=worker.run_id, view=query_pb2.VIEW_FULL)
    pieces = [piece async for piece in service.stub.GetTrajectory(request)]
    assert max(piece.ByteSize() for piece in pieces) < 2**20
    assert [s.step for piece in pieces for s in piece.snapshots] == list(range(1, 15))
    assert [piece.stage for piece in pieces] == [0, 0, 0, 0, 1]
    for piece in pieces:
        values = tensors.decode(piece.parameters)[:, 0, 0].tolist()
        assert values == [snapshot.step for snapshot in piece.snapshots]
    request.view = query_pb2.VIEW_UNSPECIFIED
    async for piece in service.stub.GetTrajectory(request):
        assert not piece.HasField("parameters")


async def test_a_part_of_a_trajectory(service: Service, worker: Worker) -> None:
    for first in range(1, 201, 10):
        worker.put(worker.make.segment(first, first + 9, shape=None, stage=first // 101))
    request = pb.GetTrajectoryRequest(
        run_id=worker.run_id, max_points=6, first_step=11, last_step=150
    )
    found = [piece async for piece in service.stub.GetTrajectory(request)]
    # The loss falls, so that the extremes of a span are its ends.
    assert [s.step for piece in found for s in piece.snapshots] == [11, 39, 67, 94, 122, 150]
    assert [piece.stage for piece in found] == [0, 1]  # not one message for each segment
    request.thinning = query_pb2.THINNING_MIN_MAX
    found = [piece async for piece in service.stub.GetTrajectory(request)]
    assert [s.step for piece in found for s in piece.snapshots] == [11, 80, 81, 150]
    assert found[0].snapshots[0].text == "word 11"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"max_points": -1}, "max_points"),
        ({"first_step": -1}, "first_step"),
        ({"last_step": -5}, "last_step"),
        ({"first_step": 5, "last_step": 4}, "last_step"),
        ({"thinning": query_pb2.THINNING_MIN_MAX}, "max_points"),
        ({"max_points": 5, "thinning": 77}, "thinning"),
    ],
)
async def test_a_bad_part_of_a_trajectory_names_its_field(
    service: Service, worker: Worker, fields: dict[str, int], field: str
) -> None:
    request = pb.GetTrajectoryRequest(run_id=worker.run_id, **fields)
    error = await service.refused(service.stub.GetTrajectory(request))
    assert isinstance(error, InvalidInput)
    assert [violation.field for violation in error.violations] == [field]


async def test_an_export_can_be_imported(service: Service, worker: Worker, tmp_path: Path) -> None:
    worker.put(worker.make.segment(1, 5), worker.make.scored(0, 0.5))
    worker.finish()
    exported = await Watch(service.stub.ExportRun(pb.ExportRunRequest(run_id=worker.run_id))).rest()
    other = open_store("memory:")
    assert other.import_run(exported) == service.store.get_run(worker.run_id)
    again = list(other.events(worker.run_id, EventQuery(view=View.FULL)))
    assert [codec.encode_event(e) for e in again] == [codec.encode_event(e) for e in exported]


async def test_streaming_without_follow_ends_at_what_there_is(
    service: Service, worker: Worker
) -> None:
    for step in range(1, 101):
        worker.segment(step)
    request = pb.StreamEventsRequest(run_id=worker.run_id)
    found = await Watch(service.stub.StreamEvents(request)).rest()
    assert [e.seq for e in found] == list(range(1, 103))
    request = pb.StreamEventsRequest(
        run_id=worker.run_id, after_seq=50, kinds=[event_pb2.EVENT_KIND_SEGMENT]
    )
    found = await Watch(service.stub.StreamEvents(request)).rest()
    assert [e.seq for e in found] == list(range(51, 103))
    assert {e.kind for e in found} == {EventKind.SEGMENT}


async def test_an_event_is_streamed_as_it_is_stored(service: Service, worker: Worker) -> None:
    worker.put(worker.make.segment(1, 5), worker.make.scored(0, 0.5))
    worker.finish()
    for view, number in ((View.SUMMARY, query_pb2.VIEW_SUMMARY), (View.FULL, query_pb2.VIEW_FULL)):
        request = pb.StreamEventsRequest(run_id=worker.run_id, view=number)
        found = [response.event async for response in service.stub.StreamEvents(request)]
        stored = service.store.events(worker.run_id, EventQuery(view=view))
        assert found == [codec.to_message(event) for event in stored]


# -- following ------------------------------------------------------------------------------------


async def test_following_ends_when_the_run_does(service: Service, worker: Worker) -> None:
    worker.segment(1)
    call = service.watch(worker.run_id)
    assert [e.seq for e in await call.take(3)] == [1, 2, 3]
    for step in range(2, 6):
        await asyncio.to_thread(worker.segment, step)
        (event,) = await call.take(1)
        assert event.seq == step + 2
    await asyncio.to_thread(worker.finish)
    assert [e.kind for e in await call.rest()] == [EventKind.FINISHED]
    await eventually(lambda: service.watched == {})
    assert len(await service.watch(worker.run_id).rest()) == 8  # of a run that is over
    assert await service.watch(worker.run_id, after_seq=8).rest() == []


async def test_following_resumes_after_the_last_seq_seen(service: Service, worker: Worker) -> None:
    first = service.watch(worker.run_id)
    seen = await first.take(2)
    first.cancel()
    await asyncio.to_thread(worker.segment, 1)
    second = service.watch(worker.run_id, after_seq=seen[-1].seq)
    await asyncio.to_thread(worker.segment, 2)
    assert [e.seq for e in await second.take(2)] == [3, 4]
    await asyncio.to_thread(worker.finish)
    assert [e.seq for e in await second.rest()] == [5]


async def test_following_some_kinds_only(service: Service, worker: Worker) -> None:
    call = service.watch(worker.run_id, kinds=[event_pb2.EVENT_KIND_CANDIDATES_SCORED])
    for step in range(1, 4):
        await asyncio.to_thread(worker.segment, step)
        await asyncio.to_thread(worker.put, worker.make.scored(step, 0.5))
    await asyncio.to_thread(worker.finish)
    assert [e.seq for e in await call.rest()] == [4, 6, 8]


async def test_following_with_raw_tensors(service: Service, worker: Worker) -> None:
    call = service.watch(worker.run_id, view=query_pb2.VIEW_FULL, after_seq=2)
    for step in range(1, 4):
        await asyncio.to_thread(worker.segment, step)
        (event,) = await call.take(1)
        assert event.payload.parameters[0, 0, 0] == step  # type: ignore[union-attr]
    await asyncio.to_thread(worker.finish)
    assert len(await call.rest()) == 1


async def test_a_paused_run_is_followed_on(service: Service, worker: Worker, store: Any) -> None:
    call = service.watch(worker.run_id)
    await call.take(2)
    await asyncio.to_thread(store.transition, worker.run_id, RunState.PAUSED)
    assert (await call.take(1))[0].kind is EventKind.STATE_CHANGED
    await asyncio.sleep(3 * tailer.POLL_SECONDS)
    await asyncio.to_thread(store.transition, worker.run_id, RunState.QUEUED)
    await asyncio.to_thread(store.transition, worker.run_id, RunState.CANCELLED)
    assert [e.seq for e in await call.rest()] == [4, 5]


async def test_a_run_deleted_while_watched_ends_with_not_found(
    service: Service, worker: Worker, store: RunStore
) -> None:
    await asyncio.to_thread(store.transition, worker.run_id, RunState.PAUSED)
    await asyncio.to_thread(store.transition, worker.run_id, RunState.QUEUED)
    calls = [service.watch(worker.run_id) for _ in range(3)]
    for call in calls:
        await call.take(4)
    await asyncio.to_thread(store.delete, worker.run_id)
    for call in calls:
        error = await service.refused(call)
        assert isinstance(error, NotFound)
        assert error.reason == "RUN_NOT_FOUND"
    await eventually(lambda: service.watched == {})


async def test_many_watchers_share_one_tailer(
    service: Service, worker: Worker, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    news = store.news
    monkeypatch.setattr(
        store, "news", lambda *given: (asked.append(time.monotonic()), news(*given))[1]
    )
    calls = [service.watch(worker.run_id, after_seq=2) for _ in range(40)]
    for step in range(1, 4):
        await asyncio.to_thread(worker.segment, step)
        for call in calls:
            (event,) = await call.take(1)
            assert event.seq == step + 2
    assert len(service.watched) == 1
    for call in calls[:20]:
        call.cancel()
    await eventually(lambda: service.watched[worker.run_id].watchers == 20)
    asked.clear()
    await eventually(lambda: len(asked) > 5)
    # One poller, with its pauses: watchers of their own would look 20 times as often.
    assert asked[5] - asked[0] > 4 * tailer.POLL_SECONDS
    for call in calls[20:]:
        call.cancel()
    await eventually(lambda: service.watched == {})


async def test_one_query_serves_all_watched_runs(
    service: Service, store: RunStore, event_maker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = [Worker(store, event_maker) for _ in range(20)]
    calls = [service.watch(worker.run_id, after_seq=1) for worker in workers]
    for call in calls:
        await call.take(1)
    asked: list[int] = []
    news = store.news
    monkeypatch.setattr(
        store, "news", lambda seen, most: (asked.append(len(seen)), news(seen, most))[1]
    )
    for worker in workers:
        await asyncio.to_thread(worker.segment, 1)
    for call in calls:
        assert [event.seq for event in await call.take(1)] == [3]
    await eventually(lambda: len(asked) > 2)
    assert set(asked) == {20}
    for worker in workers[1:]:
        await asyncio.to_thread(worker.finish)
    for call in calls[1:]:
        assert [event.seq for event in await call.rest()] == [4]
    await eventually(lambda: asked[-1] == 1)
    calls[0].cancel()
    await eventually(lambda: service.watched == {})
    assert service.servicer._tailers._polling is None


async def test_a_slow_watcher_misses_nothing_of_a_burst(
    service: Service, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The burst is longer than the ring, so the watcher has to catch up from the store."""
    call = service.watch(worker.run_id, after_seq=2)
    worker.segment(1)
    await call.take(1)
    burst = 3 * tailer.RING_EVENTS
    for start in range(2, burst, 50):
        await asyncio.to_thread(
            worker.put, *(worker.make.segment(s, s, shape=None) for s in range(start, start + 50))
        )
    held = service.watched[worker.run_id]
    await eventually(lambda: held.last_seq == worker.make.seq)
    assert len(held._ring) <= tailer.RING_EVENTS
    await asyncio.to_thread(worker.finish)
    assert [e.seq for e in await call.rest()] == list(range(4, worker.make.seq + 1))


async def test_a_store_in_trouble_ends_the_watch_so_that_it_can_be_taken_up_again(
    service: Service, worker: Worker, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = service.watch(worker.run_id)
    await call.take(2)

    def failing(*given: Any) -> Any:
        raise Unavailable("the run store does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(store, "news", failing)
        error = await service.refused(call)
        assert isinstance(error, Unavailable)
    await asyncio.to_thread(worker.finish)
    assert [e.seq for e in await service.watch(worker.run_id, after_seq=2).rest()] == [3]


async def test_a_defect_in_one_run_ends_every_watch_of_it_and_no_other(
    service: Service,
    worker: Worker,
    store: RunStore,
    event_maker: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    another = Worker(store, event_maker)
    calls = [service.watch(worker.run_id) for _ in range(3)]
    for call in calls:
        await call.take(2)

    other = service.watch(another.run_id)
    await other.take(2)
    news = store.news

    def broken(seen: Any, most: int) -> Any:
        if worker.run_id in seen:
            raise RuntimeError("a defect")
        return news(seen, most)

    with monkeypatch.context() as patch, structlog.testing.capture_logs() as logged:
        patch.setattr(store, "news", broken)
        for call in calls:
            error = await asyncio.wait_for(service.refused(call), 120)
            assert isinstance(error, InternalError)
            assert "a defect" not in error.message
    told = [entry for entry in logged if entry["event"] == "tailer_failed"]
    assert [entry["run_id"] for entry in told] == [worker.run_id]
    await asyncio.to_thread(another.finish)
    assert [e.seq for e in await other.rest()] == [3]
    await eventually(lambda: service.watched == {})
    await asyncio.to_thread(worker.finish)
    assert [e.seq for e in await service.watch(worker.run_id, after_seq=2).rest()] == [3]


async def test_a_slow_store_does_not_stop_the_event_loop(
    service: Service, worker: Worker, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While every query hangs in its thread, the loop still answers what needs no query."""
    release = threading.Event()
    progress = store.progress

    def hanging(run_id: str) -> Any:
        assert release.wait(120), "the loop stands still"
        return progress(run_id)

    monkeypatch.setattr(store, "progress", hanging)
    call = service.watch(worker.run_id)
    for _ in range(100):
        await asyncio.sleep(0.001)
    error = await service.refused(service.stub.CompareRuns(pb.CompareRunsRequest()))
    assert isinstance(error, InvalidInput)
    release.set()
    assert len(await call.take(2)) == 2
    call.cancel()
