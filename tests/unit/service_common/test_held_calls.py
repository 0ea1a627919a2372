"""Calls in vain: how many of a connection end at once, and which are held."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextvars import copy_context
from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service_common.callers import Caller, enter
from service_common.held_calls import HeldCalls

RUNS = "/mentorgrad.v1.HistoryService/GetRun"
CHECK = "/grpc.health.v1.Health/Check"
AT_ONCE = 2
"""Calls in vain that end at once, at one per second."""


class Context:
    """Of a call on a connection."""

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self._code: grpc.StatusCode | None = None

    def peer(self) -> str:
        return self._peer

    def code(self) -> Any:
        return self._code

    def abort(self, code: grpc.StatusCode) -> None:
        self._code = code
        raise grpc.aio.AbortError

    async def abort_with_status(self, status: grpc.Status) -> None:
        self.abort(status.code)


class Calls:
    """Calls that are served, each in a task of its own."""

    def __init__(self, most: int = 100) -> None:
        self.held = HeldCalls(1.0, 600.0, most, clock=lambda: 0.0)
        self.tasks: list[asyncio.Task[Any]] = []

    async def begin(
        self,
        end: Callable[[Context], None],
        peer: str = "ipv4:10.0.0.1:1",
        owner: str = "",
        path: str = RUNS,
    ) -> asyncio.Task[Any]:
        """Begins a call; returns once it has ended, or is held."""

        async def serve(request: Any, context: Any) -> str:
            if owner:
                enter(Caller(owner), owner, peer, path)
            end(context)
            return "done"

        async def found(details: Any) -> Any:
            return None if path == "/" else grpc.stream_unary_rpc_method_handler(serve)

        details: Any = SimpleNamespace(method=path)
        handler = await self.held.intercept_service(found, details)
        call = handler.stream_unary(None, Context(peer))
        self.tasks.append(asyncio.create_task(call, context=copy_context()))
        for _ in range(10):
            await asyncio.sleep(0)
        return self.tasks[-1]

    async def end(self) -> None:
        """Ends what is held."""
        self.held.release()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        assert self.held.held == 0


def works(context: Context) -> None:
    """As a call that is served does."""


def cancelled(context: Context) -> None:
    raise asyncio.CancelledError


def ends_with(name: str) -> Callable[[Context], None]:
    return lambda context: context.abort(grpc.StatusCode[name])


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    calls = Calls()
    yield calls
    await calls.end()


@pytest.mark.parametrize(
    ("path", "end"),
    [
        (RUNS, cancelled),
        (RUNS, ends_with("UNAUTHENTICATED")),
        (RUNS, ends_with("RESOURCE_EXHAUSTED")),
        (CHECK, works),
        ("/", works),
    ],
)
async def test_calls_in_vain_are_held(
    calls: Calls, path: str, end: Callable[[Context], None]
) -> None:
    for _ in range(AT_ONCE):
        assert (await calls.begin(end, path=path)).done()
    held = await calls.begin(end, path=path)
    assert not held.done()
    assert not (await calls.begin(end, path=path, peer="ipv4:10.0.0.1:2")).done()
    assert (await calls.begin(end, path=path, peer="ipv4:10.0.0.2:1")).done()
    assert calls.held.held == 2
    assert (await calls.begin(works)).result() == "done"
    calls.held.release()
    await asyncio.wait([held])
    assert calls.held.held == 0


@pytest.mark.parametrize("end", [works, ends_with("NOT_FOUND"), ends_with("INVALID_ARGUMENT")])
async def test_calls_that_were_let_in_are_not_held(
    calls: Calls, end: Callable[[Context], None]
) -> None:
    tasks = [await calls.begin(end, owner="alice") for _ in range(5 * AT_ONCE)]
    assert all(task.done() for task in tasks)


async def test_calls_of_an_owner_count_together(calls: Calls) -> None:
    for peer in range(AT_ONCE):
        await calls.begin(cancelled, f"ipv4:10.0.0.{peer}:1", "alice")
    assert not (await calls.begin(cancelled, "ipv4:10.0.0.7:1", "alice")).done()
    assert (await calls.begin(cancelled, "ipv4:10.0.0.7:2", "bob")).done()


async def test_a_connection_of_several_owners_is_not_slowed_for_one(calls: Calls) -> None:
    for owner in ("alice", "bob"):
        await calls.begin(works, owner=owner)
    tasks = [await calls.begin(cancelled, owner="alice") for _ in range(5 * AT_ONCE)]
    assert all(task.done() for task in tasks)


async def test_a_held_call_ends_after_its_time() -> None:
    held = HeldCalls(1.0, 0.0, clock=lambda: 0.0)
    for _ in range(AT_ONCE + 1):
        await held._hold("ipv4:10.0.0.1:1", "alice")
    assert held.held == 0


@given(st.lists(st.sampled_from(["alice", "bob", "carol"]), max_size=20))
async def test_no_more_are_held_than_allowed(owners: list[str]) -> None:
    calls = Calls(most=4)
    for owner in owners:
        await calls.begin(cancelled, f"peer of {owner}", owner)
    vain = sum(max(owners.count(owner) - AT_ONCE, 0) for owner in set(owners))
    assert calls.held.held == min(vain, 4)
    await calls.end()
