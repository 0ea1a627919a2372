"""The SDK's clients against the real servicers over a store in memory, on real sockets."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mentorgrad import async_client, errors
from mentorgrad.async_client import AsyncClient
from mentorgrad.client import BackgroundLoop, Client
from mentorgrad.domain.advice import Answer, AnswerRecord, ProposalOutcome
from mentorgrad.domain.event import (
    Branch,
    EventKind,
    ProposalsReceived,
    RestartDecided,
    RunEvent,
    Segment,
    StageStarted,
)
from mentorgrad.domain.query import EventQuery, RunFilter, Thinning, View
from mentorgrad.domain.run import DesiredState, RunState, Snapshot
from mentorgrad.domain.spec import MentorChoice, RunSpec
from mentorgrad.serialization import from_dict, to_dict
from mentorgrad.wire.connection import StreamLost
from run_store import servicer
from run_store.temporary_store import TemporaryRunStore
from tests.support.served_runs import Worker, finished_run, queue_run, served


@pytest.fixture
def store() -> Iterator[TemporaryRunStore]:
    opened = TemporaryRunStore()
    yield opened
    opened.close()


@pytest.fixture
async def client(store: TemporaryRunStore) -> AsyncIterator[AsyncClient]:
    async with served(store) as (_, address), AsyncClient(address, resume_for=10) as opened:
        yield opened


# -- steering ---------------------------------------------------------------------------------


async def test_create_returns_the_run_and_is_idempotent_by_request_id(client: AsyncClient) -> None:
    spec = RunSpec(seed=7, name="mine", labels={"arm": "none"})
    made = await client.create_run(spec, request_id="one")
    assert made.created
    assert made.run.spec == spec
    assert made.run.state is RunState.QUEUED
    again = await client.create_run(spec, request_id="one")
    assert not again.created
    assert again.run.run_id == made.run.run_id
    with pytest.raises(errors.AlreadyExists):
        await client.create_run(RunSpec(seed=8), request_id="one")


async def test_create_passes_on_warnings_and_limits(client: AsyncClient) -> None:
    made = await client.create_run(RunSpec(mentor=MentorChoice(name="absent")))
    assert "absent" in made.warnings[0]
    await client.create_run(RunSpec())
    with pytest.raises(errors.ResourceExhausted):
        await client.create_run(RunSpec())


async def test_a_wrong_spec_names_its_fields(client: AsyncClient) -> None:
    with pytest.raises(errors.InvalidInput) as here:
        await client.create_run(RunSpec(seed=-1))
    assert here.value.violations[0].field == "spec.seed"
    with pytest.raises(errors.InvalidInput) as there:
        await client.create_run(RunSpec(mentor=MentorChoice(name="who")))
    assert there.value.violations[0].field == "spec.mentor.name"
    assert there.value.reason == "UNKNOWN_MENTOR"


async def test_steering(client: AsyncClient, store: TemporaryRunStore) -> None:
    run_id = (await client.create_run(RunSpec())).run.run_id
    assert (await client.pause_run(run_id)).state is RunState.PAUSED
    assert (await client.resume_run(run_id)).state is RunState.QUEUED
    worker = Worker(store, run_id)
    with pytest.raises(errors.PreconditionFailed):
        await client.delete_run(run_id)
    await client.finish_run(run_id)
    assert store.desired(run_id) is DesiredState.FINISH
    await client.cancel_run(run_id)
    assert store.desired(run_id) is DesiredState.CANCEL
    worker.finish()
    with pytest.raises(errors.PreconditionFailed):
        await client.finish_run(run_id)
    await client.delete_run(run_id)
    with pytest.raises(errors.NotFound):
        await client.get_run(run_id)


async def test_trainer_info(client: AsyncClient) -> None:
    info = await client.trainer_info()
    assert info.devices == ("cpu",)
    assert (info.queue_limit, info.upload_limit_bytes) == (2, 1 << 20)
    mentors = {entry.name: entry for entry in info.mentors}
    assert not mentors["absent"].available
    assert mentors["random_tokens"].model == "control"


async def test_a_file_above_the_trainers_limit_is_not_sent(
    client: AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("mentorgrad.wire.connection.Connection.upload")
    large = tmp_path / "large.csv"
    with large.open("wb") as file:
        file.truncate((1 << 20) + 1)
    with pytest.raises(errors.InvalidInput, match="must be at most 1048576") as caught:
        await client.upload_data(large)
    assert caught.value.reason == "UPLOAD_TOO_LARGE"


# -- watching ---------------------------------------------------------------------------------


async def test_watch_follows_a_run_to_its_end(
    client: AsyncClient, store: TemporaryRunStore
) -> None:
    run_id = queue_run(store)
    seen: list[RunEvent] = []

    async def watch() -> None:
        async for event in client.watch(run_id):
            seen.append(event)

    watching = asyncio.create_task(watch())
    worker = Worker(store, run_id)
    worker.segment(0, 1)
    await asyncio.sleep(0.3)
    worker.finish()
    await asyncio.wait_for(watching, 120)
    assert [event.seq for event in seen] == list(range(1, worker.last + 1))
    assert [event.kind for event in seen][-1] is EventKind.FINISHED
    assert all(getattr(event.payload, "parameters", None) is None for event in seen)


async def test_watch_of_a_finished_run_with_a_filter_ends(
    client: AsyncClient, store: TemporaryRunStore
) -> None:
    run_id = finished_run(store)
    kinds = [EventKind.SEGMENT]
    events = [event async for event in client.watch(run_id, kinds=kinds, view=View.FULL)]
    assert [event.payload.parameters.shape for event in events] == [(3, 2), (3, 2)]
    assert [event async for event in client.watch(run_id, after_seq=10_000)] == []
    with pytest.raises(errors.NotFound):
        _ = [event async for event in client.watch("nobody")]


async def test_events_of_kinds_that_only_a_newer_trainer_knows_are_left_out(
    client: AsyncClient, store: TemporaryRunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = finished_run(store)

    def newer(kind: Any, batch: Any) -> Any:
        found = responses(kind, batch)
        for response in found:
            if response.event.HasField("stage_started"):
                response.event.ClearField("stage_started")
                response.event.MergeFromString(b"\xa2\x06\x02\x08\x01")  # field 100, a message
        return found

    responses = servicer._responses
    monkeypatch.setattr(servicer, "_responses", newer)
    watched = [event async for event in client.watch(run_id)]
    assert [event async for event in client.events(run_id)] == watched
    last = store.get_run(run_id).last_seq
    stages = {
        event.seq for event in store.events(run_id) if isinstance(event.payload, StageStarted)
    }
    assert len(stages) == 2
    assert [event.seq for event in watched] == sorted({*range(1, last + 1)} - stages)


async def test_a_watch_resumes_after_lost_connections_with_every_event_once(
    store: TemporaryRunStore,
) -> None:
    run_id = queue_run(store)
    seen: list[int] = []
    arrived = asyncio.Event()

    async def watch(address: str) -> None:
        async with AsyncClient(address, resume_for=30) as client:
            async for event in client.watch(run_id):
                seen.append(event.seq)
                arrived.set()

    async def until(seq: int) -> None:
        while not seen or seen[-1] < seq:
            arrived.clear()
            await asyncio.wait_for(arrived.wait(), 120)

    async with served(store) as (_, address):
        watching = asyncio.create_task(watch(address))
        worker = Worker(store, run_id)
        await until(worker.last)
    for round_ in range(2):
        worker.segment(round_, 3 * round_ + 1)  # while nobody serves
        async with served(store, address):
            await until(worker.last)
    async with served(store, address):
        worker.finish()
        await asyncio.wait_for(watching, 120)
    assert seen == list(range(1, worker.last + 1))


async def test_a_watch_gives_up_and_names_the_last_event(store: TemporaryRunStore) -> None:
    run_id = queue_run(store)
    async with served(store) as (_, address):
        client = AsyncClient(address, resume_for=0.3)
        watching = client.watch(run_id)
        assert (await anext(watching)).seq == 1
    with pytest.raises(errors.Unavailable, match="the last event seen is 1") as caught:
        await anext(watching)
    assert caught.value.metadata["last_seq"] == "1"
    await client.close()


async def test_an_idle_watch_outlives_its_streams_and_its_patience(
    client: AsyncClient, store: TemporaryRunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream's own deadline on a healthy connection is no loss, however silent the run is."""
    monkeypatch.setattr(async_client, "_FOLLOW_SECONDS", 0.2)
    client._resume_for = 0.0
    run_id = queue_run(store)
    seen: list[int] = []

    async def watch() -> None:
        async for event in client.watch(run_id):
            seen.append(event.seq)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(1.2)
    assert not watching.done()
    worker = Worker(store, run_id)
    worker.finish()
    await asyncio.wait_for(watching, 120)
    assert seen == list(range(1, worker.last + 1))


async def test_a_silence_longer_than_its_patience_does_not_spend_it(
    store: TemporaryRunStore,
) -> None:
    """Patience counts from the loss of the connection, not from the last event."""
    run_id = queue_run(store)
    async with served(store) as (_, address):
        client = AsyncClient(address, resume_for=600)
        watching = client.watch(run_id)
        assert (await anext(watching)).seq == 1
        pending = asyncio.create_task(watching.__anext__())
        await asyncio.sleep(0.1)
        loop = asyncio.get_running_loop()
        clock, silence = loop.time, 700.0
        loop.time = lambda: clock() + silence  # type: ignore[method-assign]
    async with served(store, address):
        worker = Worker(store, run_id)
        assert (await asyncio.wait_for(pending, 20)).seq == 2
        worker.finish()
        assert [event.seq async for event in watching] == list(range(3, worker.last + 1))
    await client.close()


async def test_a_stream_that_dies_at_once_again_and_again_is_given_up(
    client: AsyncClient, store: TemporaryRunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service answers, but its streams do not live: that is an outage too."""
    run_id = queue_run(store)
    client._resume_for = 0.5
    tried = []

    async def broken(*_: Any) -> AsyncIterator[RunEvent]:
        tried.append(1)
        raise StreamLost(errors.Unavailable("cut"))
        yield

    monkeypatch.setattr(client, "_follow", broken)
    with pytest.raises(errors.Unavailable, match="the last event seen is 0"):
        _ = [event async for event in client.watch(run_id)]
    assert len(tried) >= 2


async def test_closing_ends_a_watch(store: TemporaryRunStore) -> None:
    run_id = queue_run(store)
    async with served(store) as (_, address):
        client = AsyncClient(address, resume_for=30)
        watching = client.watch(run_id)
        await anext(watching)
        pending = asyncio.create_task(watching.__anext__())
        await asyncio.sleep(0.1)
        await client.close()
        with pytest.raises(errors.Unavailable, match="closed"):
            await asyncio.wait_for(pending, 120)


async def test_cancelling_the_watching_task_leaves_the_run_alone(
    client: AsyncClient, store: TemporaryRunStore
) -> None:
    run_id = queue_run(store)
    watching = client.watch(run_id)
    await anext(watching)
    pending = asyncio.create_task(watching.__anext__())
    await asyncio.sleep(0.1)
    pending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pending
    assert (await client.get_run(run_id)).state is RunState.QUEUED


# -- reading ----------------------------------------------------------------------------------


async def test_reading(client: AsyncClient, store: TemporaryRunStore) -> None:
    run_id = finished_run(store)
    other = queue_run(store, RunSpec(seed=3))
    assert await client.get_run(run_id) == store.get_run(run_id)
    page = await client.list_runs(page_size=1)
    assert [run.run_id for run in page.runs] == [other]
    following = await client.list_runs(page_size=1, page_token=page.next_page_token)
    assert [run.run_id for run in following.runs] == [run_id]
    assert [run.run_id async for run in client.iter_runs()] == [other, run_id]
    done = await client.list_runs(RunFilter(states=(RunState.SUCCEEDED,)))
    assert [run.run_id for run in done.runs] == [run_id]
    candidates = await client.list_candidates(run_id)
    assert [item.candidate_id for item in candidates.candidates] == ["s1/step6"]
    assert [item async for item in client.iter_candidates(run_id)] == list(candidates)
    assert [item async for item in client.iter_experiments()] == []
    compared = await client.compare_runs([run_id, other])
    differences = {item.field: item.values for item in compared.differences}
    assert differences["seed"] == ("0", "3")
    query = EventQuery(kinds=(EventKind.STAGE_STARTED,))
    starts = [event async for event in client.events(run_id, query)]
    assert [event.payload.step for event in starts] == [0, 3]


async def test_trajectory_is_arrays(client: AsyncClient, store: TemporaryRunStore) -> None:
    run_id = finished_run(store)
    path = await client.trajectory(run_id)
    assert [snapshot.step for snapshot in path.snapshots] == [1, 2, 3, 4, 5, 6]
    assert path.stages == (0, 0, 0, 1, 1, 1)
    assert path.parameters is not None
    np.testing.assert_array_equal(path.parameters[:, 0], [1, 2, 3, 4, 5, 6])
    thin = await client.trajectory(run_id, max_points=2, view=View.SUMMARY)
    assert [snapshot.step for snapshot in thin.snapshots] == [1, 6]
    assert thin.parameters is None
    part = await client.trajectory(run_id, 5, first_step=2, last_step=5, thinning=Thinning.MIN_MAX)
    assert [snapshot.step for snapshot in part.snapshots] == [2, 3, 4, 5]
    assert part.parameters is not None
    np.testing.assert_array_equal(part.parameters[:, 0], [2, 3, 4, 5])


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda client: client.list_runs(page_size=0), "page_size"),
        (lambda client: client.list_runs(page_size=1001), "page_size"),
        (lambda client: client.list_runs(page_token="junk"), "page_token"),
        (lambda client: client.trajectory("x", max_points=-1), "max_points"),
        (lambda client: client.trajectory("x", first_step=3, last_step=2), "last_step"),
        (lambda client: client.compare_runs([]), "run_ids"),
    ],
)
async def test_bad_questions_name_the_field(client: AsyncClient, call: Any, field: str) -> None:
    with pytest.raises(errors.InvalidInput) as caught:
        await call(client)
    assert caught.value.violations[0].field == field


# -- files ------------------------------------------------------------------------------------


async def test_download_writes_whole_files_only(
    client: AsyncClient, store: TemporaryRunStore, tmp_path: Path
) -> None:
    run_id = finished_run(store)
    expected = store.read_artifact(run_id, "prompt.safetensors")
    assert await client.read_artifact(run_id, "prompt.safetensors") == expected
    written = await client.download(run_id, "prompt.safetensors", tmp_path)
    assert written == tmp_path / "prompt.safetensors"
    assert written.read_bytes() == expected
    with pytest.raises(errors.NotFound):
        await client.download(run_id, "nothing", tmp_path / "nothing")
    assert [path.name for path in tmp_path.iterdir()] == ["prompt.safetensors"]


async def test_what_a_run_records_can_be_imported_again(
    client: AsyncClient, store: TemporaryRunStore
) -> None:
    """Long words, a long question and figures that diverged, over the wire and as JSON lines."""
    run_id = queue_run(store)
    worker = Worker(store, run_id)
    record = AnswerRecord(mentor="m", question="q" * 10_000, raw_replies=("r" * 10_000,))
    answer = Answer(request_id="r0", detail="d" * 5_000, records=(record,))
    outcome = ProposalOutcome(proposal_id="s0/p0", probe_loss=math.inf)
    nan = Branch(candidate_id="s0/step1", loss_before=1.0, loss_after=math.nan)
    snapshot = Snapshot(step=1, gradient_norm=math.inf, text="w" * 5_000)
    worker.write(
        StageStarted(text="w" * 5_000),
        Segment(step_start=1, step_end=1, snapshots=(snapshot,)),
        ProposalsReceived(answer=answer),
        RestartDecided(branches=(nan,), outcomes=(outcome,), reason="y" * 5_000),
    )
    worker.finish()
    exported = [event async for event in client.export_run(run_id)]
    lines = [json.dumps(to_dict(event)) for event in exported]
    for log in (exported, [from_dict(RunEvent, json.loads(line)) for line in lines]):
        elsewhere = TemporaryRunStore()
        async with served(elsewhere) as (_, address), AsyncClient(address) as other:
            assert (await other.import_run(log)).run_id == run_id
        again = list(elsewhere.events(run_id, EventQuery(view=View.FULL)))
        assert [json.dumps(to_dict(event)) for event in again] == lines
        elsewhere.close()


async def test_export_is_the_inverse_of_import(
    client: AsyncClient, store: TemporaryRunStore
) -> None:
    run_id = finished_run(store)
    exported = [event async for event in client.export_run(run_id)]
    elsewhere = TemporaryRunStore()
    async with served(elsewhere) as (_, address), AsyncClient(address) as other:
        imported = await other.import_run(exported)
        assert imported.run_id == run_id
        assert imported.result == store.get_run(run_id).result
        assert await other.import_run(client.export_run(run_id)) == imported
        with pytest.raises(errors.InvalidInput):
            await other.import_run(exported[1:])
        with pytest.raises(errors.InvalidInput):
            await other.import_run(iter(exported * 400))  # refused before the end
    elsewhere.close()


# -- the facade -------------------------------------------------------------------------------


@pytest.fixture
def address(store: TemporaryRunStore) -> Iterator[str]:
    """A server on the facades' own loop: grpc's asyncio has one poller a process."""
    loop = BackgroundLoop.acquire()
    context = served(store)
    _, target = loop.run(context.__aenter__())
    yield target
    loop.run(context.__aexit__(None, None, None))
    loop.release()


def test_the_facade_offers_the_same(store: TemporaryRunStore, address: str, tmp_path: Path) -> None:
    run_id = finished_run(store)
    with Client(address) as client:
        assert client.get_run(run_id) == store.get_run(run_id)
        assert client.list_runs().runs == store.list_runs().runs
        assert list(client.events(run_id)) == list(store.events(run_id))
        assert list(client.watch(run_id)) == list(store.events(run_id))
        assert client.artifacts(run_id) == store.artifacts(run_id)
        assert client.list_candidates(run_id) == store.list_candidates(run_id)
        assert client.trajectory(run_id).stages == store.trajectory(run_id).stages
        assert client.download(run_id, "prompt.safetensors", tmp_path).exists()
        assert client.compare_runs([run_id]).runs == (store.get_run(run_id),)
        made = client.create_run(RunSpec())
        assert client.cancel_run(made.run.run_id).state is RunState.CANCELLED
        client.delete_run(made.run.run_id)
        assert client.trainer_info().tasks == ("tickets",)
        watching = client.watch(run_id)
        assert next(watching).seq == 1
        watching.close()  # leaving early is clean
        log = list(client.export_run(run_id))
        client.delete_run(run_id)
        assert client.import_run(iter(log)).run_id == run_id
    client.close()
    with pytest.raises(errors.Unavailable, match="closed"):
        client.get_run(run_id)


def test_facades_share_one_loop_and_stop_it(address: str) -> None:
    shared = BackgroundLoop.acquire()
    with Client(address) as first, Client(address) as second:
        assert first._held is second._held is shared
    shared.release()


def test_an_interrupt_ends_a_watch_cleanly_and_not_the_run(
    store: TemporaryRunStore, address: str
) -> None:
    run_id = queue_run(store)
    with Client(address) as client:
        watching = client.watch(run_id)
        next(watching)
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        came = []

        def interrupted() -> None:
            timer.start()
            try:
                came.append(next(watching))
            finally:
                timer.join()  # no interrupt reaches what comes after the test

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert came == []
        assert client.get_run(run_id).state is RunState.QUEUED
