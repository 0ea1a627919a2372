"""A service that is about to stop says so, and whoever follows a run misses nothing by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest

from mentorgrad import AsyncClient
from mentorgrad.domain.event import EventKind, RunEvent
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import Unavailable
from mentorgrad.v1 import history_service_pb2 as pb
from mentorgrad.v1.history_service_pb2_grpc import HistoryServiceStub
from mentorgrad.wire.channels import stream_channel
from mentorgrad.wire.codec import enum_number
from mentorgrad.wire.error_mapping import from_rpc_error
from run_store.temporary_store import TemporaryRunStore
from service_common.server import Server
from tests.support.served_runs import Worker, queue_run, served


@pytest.fixture
def store() -> TemporaryRunStore:
    return TemporaryRunStore()


@pytest.fixture
async def service(store: TemporaryRunStore) -> AsyncIterator[Server]:
    async with served(store) as (running, _):
        yield running


@pytest.mark.parametrize("kinds", [(), (EventKind.CREATED,)])
async def test_who_follows_is_told_where_to_go_on(
    store: TemporaryRunStore, service: Server, kinds: tuple[EventKind, ...]
) -> None:
    run_id = queue_run(store)
    worker = Worker(store, run_id)
    request = pb.StreamEventsRequest(run_id=run_id, follow=True, kinds=map(enum_number, kinds))
    async with stream_channel(service.address) as channel:
        responses = aiter(HistoryServiceStub(channel).StreamEvents(request, timeout=120))
        assert (await anext(responses)).event.seq == 1
        await service.drain()
        *_, last = await to_the_break(responses)
        assert not last.HasField("event")
        assert last.closing.resume_after_seq == worker.last
        assert "shutting down" in last.closing.reason

        # Who comes only now hears it at once; what is over, or not followed, is still given.
        again = HistoryServiceStub(channel).StreamEvents(request, timeout=120)
        (only,) = await to_the_break(again)
        assert only.closing.resume_after_seq == 0
        worker.finish()
        whole = HistoryServiceStub(channel).StreamEvents(
            pb.StreamEventsRequest(run_id=run_id), timeout=120
        )
        assert [r.event.seq async for r in whole] == [*range(1, worker.last + 1)]


async def to_the_break(responses: Any) -> list[Any]:
    """What a stream sends before it ends as one that can be taken up again."""
    found = []

    async def listen() -> None:
        async for response in responses:
            found.append(response)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await listen()
    error = from_rpc_error(caught.value)
    assert isinstance(error, Unavailable)
    assert error.reason == "DRAINING"
    return found


async def test_no_new_run_is_taken_and_everything_else_is_answered(
    store: TemporaryRunStore, service: Server
) -> None:
    run_id = queue_run(store)
    await service.drain()
    async with AsyncClient(service.address) as client:
        with pytest.raises(Unavailable) as caught:
            await client.create_run(RunSpec())
        assert caught.value.reason == "DRAINING"
        assert (await client.get_run(run_id)).state is RunState.QUEUED
        assert (await client.cancel_run(run_id)).state is RunState.CANCELLED


async def test_a_watch_goes_on_with_the_next_service_and_sees_every_event_once(
    store: TemporaryRunStore,
) -> None:
    run_id = queue_run(store)
    worker = Worker(store, run_id)
    seen: list[RunEvent] = []
    news = asyncio.Event()

    async def watch(client: AsyncClient) -> None:
        async for event in client.watch(run_id):
            seen.append(event)
            news.set()

    async def saw(seq: int) -> None:
        while not seen or seen[-1].seq < seq:
            news.clear()
            await news.wait()

    async with served(store) as (first, _):
        client = AsyncClient(first.address, resume_for=60)
        watching = asyncio.create_task(watch(client))
        await saw(worker.last)
        await first.drain()
        worker.segment(0, 1)  # while nobody may follow
        await client.get_run(run_id)
    async with served(store, first.address):
        worker.segment(0, 4)
        worker.finish()
        await asyncio.wait_for(watching, 120)
    await client.close()
    assert [event.seq for event in seen] == [*range(1, worker.last + 1)]


async def test_a_watch_gives_up_on_a_service_that_goes_on_draining(
    store: TemporaryRunStore, service: Server
) -> None:
    run_id = queue_run(store)
    await service.drain()
    async with AsyncClient(service.address, resume_for=0.3) as client:
        with pytest.raises(Unavailable, match="shutting down"):
            async for _ in client.watch(run_id):
                pass
