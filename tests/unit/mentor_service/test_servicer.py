"""The servicer's limits, by its own coroutines: what a slow wire would hide."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mentor_service.backends.scripted import ScriptedBackend, repeat
from mentor_service.profiles import PROFILES
from mentor_service.servicer import MentorServicer
from mentorgrad.errors import DeadlineExceeded, ResourceExhausted, Unavailable
from mentorgrad.v1 import advice_pb2
from mentorgrad.v1 import mentor_service_pb2 as pb
from service_common.callers import LOCAL, Caller


def servicer(**limits: Any) -> MentorServicer:
    limits.setdefault("caller", lambda: LOCAL)
    return MentorServicer(ScriptedBackend(repeat(["1. a b"])), PROFILES["small"], **limits)


async def opening() -> AsyncIterator[Any]:
    yield pb.AdviseRequest(open=advice_pb2.AdviseOpen(session_id="s"))
    await asyncio.Event().wait()


async def silent() -> AsyncIterator[Any]:
    await asyncio.Event().wait()
    yield pb.AdviseRequest()


async def test_callers_that_read_nothing_count_as_open_sessions() -> None:
    mentor = servicer(max_sessions=2)
    # Each stays at its first response, as where the wire takes nothing more.
    stuck = [mentor.Advise(opening(), None) for _ in range(2)]
    for call in stuck:
        assert (await anext(call)).accepted.model == "scripted"
    with pytest.raises(ResourceExhausted) as caught:
        await anext(mentor.Advise(opening(), None))
    assert caught.value.reason == "MENTOR_BUSY"
    assert caught.value.message == "2 sessions are already open"
    await stuck[0].aclose()
    freed = mentor.Advise(opening(), None)
    assert (await anext(freed)).accepted.model == "scripted"
    await freed.aclose()
    await stuck[1].aclose()


async def test_an_open_that_does_not_come_ends_the_call() -> None:
    mentor = servicer(max_sessions=1, open_seconds=0.05)
    with pytest.raises(DeadlineExceeded) as caught:
        await anext(mentor.Advise(silent(), None))
    assert caught.value.message == "the open message did not arrive within 0.05 s"


async def test_a_session_outlives_the_time_for_its_open() -> None:
    call = servicer(open_seconds=0.05).Advise(opening(), None)
    await anext(call)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(call), 0.15)
    await call.aclose()


@pytest.mark.slow
async def test_requests_of_a_caller_that_reads_nothing_are_held_back() -> None:
    taken = 0

    async def asking() -> AsyncIterator[Any]:
        nonlocal taken
        yield pb.AdviseRequest(open=advice_pb2.AdviseOpen(session_id="s"))
        for number in range(2_000):
            taken += 1
            yield pb.AdviseRequest(
                request=advice_pb2.ProposalRequest(request_id=f"r{number}", count=1)
            )

    call = servicer().Advise(asking(), None)
    assert (await anext(call)).accepted.model == "scripted"
    before = -1
    while taken != before:
        before = taken
        await asyncio.sleep(0.2)
    assert taken < 500
    await call.aclose()


# -- several owners ---------------------------------------------------------------------------


async def opened_by(mentor: MentorServicer, requests: AsyncIterator[Any]) -> Any:
    call = mentor.Advise(requests, None)
    await anext(call)
    return call


async def test_an_owner_leaves_room_for_others() -> None:
    present = [Caller("alice")]
    mentor = servicer(max_sessions=4, caller=lambda: present[0])
    held = [await opened_by(mentor, opening()) for _ in range(2)]
    with pytest.raises(ResourceExhausted) as caught:
        await opened_by(mentor, opening())
    assert caught.value.message == "2 sessions of alice are already open"
    assert caught.value.retry_after is not None
    # A token of the same owner may have a limit of its own.
    present[0] = Caller("alice", session_limit=3)
    held.append(await opened_by(mentor, opening()))
    present[0] = Caller("bob")
    held.append(await opened_by(mentor, opening()))
    with pytest.raises(ResourceExhausted, match="4 sessions are already open"):
        await opened_by(mentor, opening())
    for call in held:
        await call.aclose()


async def test_a_service_that_asks_for_nobody_has_all_places() -> None:
    mentor = servicer(max_sessions=3, caller=lambda: Caller("gpu1", is_service=True))
    held = [await opened_by(mentor, opening()) for _ in range(3)]
    with pytest.raises(ResourceExhausted, match="3 sessions are already open"):
        await opened_by(mentor, opening())
    for call in held:
        await call.aclose()


async def test_an_idle_session_ends_when_its_place_is_needed() -> None:
    mentor = servicer(max_sessions=1, idle_seconds=0.0)
    idle = await opened_by(mentor, opening())
    waiting = asyncio.ensure_future(anext(idle))
    following = await opened_by(mentor, opening())
    with pytest.raises(Unavailable) as caught:
        await waiting
    assert caught.value.reason == "SESSION_IDLE"
    await following.aclose()


async def test_a_session_ends_that_keeps_more_than_its_owner_may() -> None:
    sent = asyncio.Event()

    async def sending(letters: int) -> AsyncIterator[Any]:
        yield pb.AdviseRequest(open=advice_pb2.AdviseOpen(session_id="s"))
        for seq in range(1, 3):
            batch = advice_pb2.Batch(seq=seq)
            batch.snapshots.add(step=seq, text="w" * letters)
            yield pb.AdviseRequest(batch=batch)
        await sent.wait()

    present = [Caller("alice")]
    mentor = servicer(max_bytes=100_000, caller=lambda: present[0])
    greedy = await opened_by(mentor, sending(30_000))
    assert (await anext(greedy)).batch_acknowledged.seq == 1
    with pytest.raises(ResourceExhausted) as caught:
        await anext(greedy)
    assert caught.value.reason == "MENTOR_MEMORY"
    assert "of alice" in caught.value.message
    present[0] = Caller("bob")
    modest = await opened_by(mentor, sending(20_000))
    assert [(await anext(modest)).batch_acknowledged.seq for _ in range(2)] == [1, 2]
    await modest.aclose()
