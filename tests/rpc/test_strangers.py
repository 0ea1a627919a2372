"""Nobody without a token stops a service, and nobody takes all of its places."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry, generate_latest

from mentorgrad.errors import DeadlineExceeded, ResourceExhausted
from mentorgrad.v1 import history_service_pb2 as history
from mentorgrad.v1.history_service_pb2_grpc import (
    HistoryServiceServicer,
    add_HistoryServiceServicer_to_server,
)
from mentorgrad.wire.channels import SEGMENT_BYTES, unary_channel
from mentorgrad.wire.credentials import Credentials
from mentorgrad.wire.error_mapping import from_rpc_error
from service_common import call_admission, server, shares, tokens
from service_common.places import ARRIVING, STRANGERS, CallKind, Limit
from service_common.security import Security
from service_common.server import Server
from service_common.token_file import TokenFile
from service_common.tokens import Scope
from tests.support.raw_http2 import RawConnection, message

GET_RUN = "/mentorgrad.v1.HistoryService/GetRun"
EVENTS = "/mentorgrad.v1.HistoryService/StreamEvents"
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
NAMES = {"one": Scope.READ, "two": Scope.READ, "three": Scope.READ, "admin": Scope.ADMIN}
LIMITS = {kind: Limit(3, 2) for kind in CallKind}
WINDOW = SEGMENT_BYTES + 100
"""What a client may send of a request that nobody asks for, and a little more."""


class Slow(HistoryServiceServicer):
    """Answers calls for the run "now" at once, and no others."""

    async def GetRun(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.run_id != "now":
            await asyncio.Event().wait()
        return history.GetRunResponse()

    async def StreamEvents(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        yield history.StreamEventsResponse()
        await asyncio.Event().wait()


class Guarded:
    """A service with tokens, and what its callers do."""

    def __init__(self, folder: Path, owner_call_rate: float | None = None) -> None:
        file = folder / "tokens.json"
        self.tokens = {n: tokens.create(file, n, [scope])[1] for n, scope in NAMES.items()}
        security = Security(tokens=TokenFile(file), owner_call_rate=owner_call_rate)
        self.registry = CollectorRegistry()
        self.server = Server(
            "127.0.0.1:0", [], security=security, limits=LIMITS, registry=self.registry
        )
        add_HistoryServiceServicer_to_server(Slow(), self.server.grpc)
        self.address = ""

    def bearer(self, name: str) -> str:
        return f"Bearer {self.tokens[name]}"

    async def get(self, name: str, run_id: str = "now", path: str = GET_RUN) -> str:
        """Calls as somebody; returns the reason of a refusal."""
        proof = Credentials(token=self.tokens[name]) if name else None
        async with unary_channel(self.address, proof) as channel:
            method = channel.unary_unary(path)
            request = history.GetRunRequest(run_id=run_id)
            try:
                await method(request.SerializeToString(), timeout=120)
            except grpc.RpcError as error:
                return from_rpc_error(error).reason
        return ""

    async def is_healthy(self) -> bool:
        async with unary_channel(self.address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=120)
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def serves(self, owner: str = "one") -> bool:
        """Whether an administrator, an owner and a health check are answered."""
        callers = [await self.get(name) for name in ("admin", owner)]
        return not any(callers) and await self.is_healthy()

    async def busy(self, kind: CallKind, count: int) -> None:
        """Waits until so many calls are in progress."""
        async with asyncio.timeout(120):
            while self.server.admission.places.taken(kind) != count:
                await asyncio.sleep(0.01)


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    guarded = Guarded(tmp_path)
    guarded.address = await guarded.server.start()
    yield guarded
    await guarded.server.stop(0)


def ended(connection: RawConnection, streams: set[int]) -> bool:
    return connection.wait(lambda: connection.ended >= streams, 120)


async def test_an_owner_begins_so_many_calls_per_second(tmp_path: Path) -> None:
    guarded = Guarded(tmp_path, owner_call_rate=0.001)
    guarded.address = await guarded.server.start()
    try:
        assert [await guarded.get("one") for _ in range(2)] == ["", "CALL_RATE"]
        assert [await guarded.get(name) for name in ("two", "admin", "admin")] == ["", "", ""]
    finally:
        await guarded.server.stop(0)


async def test_who_is_ahead_of_its_share_makes_room_for_the_others(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "RECENT", math.inf)
    monkeypatch.setattr(shares, "FORGIVEN", math.inf)
    assert await guarded.get("one") == ""
    guarded.server.admission.shares.account("one").charge(1e6)
    assert await guarded.get("one") == ""  # nobody else has called
    assert await guarded.get("two") == ""
    guarded.server.admission.shares.account("one").charge(1e6)
    assert await guarded.get("one") == "SHARE_TAKEN"
    assert await guarded.get("one", path=EVENTS) == "SHARE_TAKEN"
    assert await guarded.serves("two")


async def test_watches_of_the_health_are_few(guarded: Guarded) -> None:
    refused = STRANGERS - LIMITS[CallKind.HEALTH_WATCH].each
    with RawConnection(guarded.address) as stranger:
        streams = [stranger.open(WATCH) for _ in range(STRANGERS)]  # one more would end the oldest
        for stream in streams:
            stranger.send(stream, message(b""))
        assert await asyncio.to_thread(stranger.wait, lambda: len(stranger.ended) >= refused, 120)
        assert await guarded.serves()
        assert len(stranger.ended) == refused
    await guarded.busy(CallKind.HEALTH_WATCH, 0)


@pytest.mark.parametrize("path", [GET_RUN, EVENTS])
async def test_headers_without_a_token_end_at_once(guarded: Guarded, path: str) -> None:
    with RawConnection(guarded.address) as stranger:
        streams = {stranger.open(path) for _ in range(20)}
        assert await asyncio.to_thread(ended, stranger, streams)
        assert await guarded.serves()


async def test_half_a_health_check_keeps_no_other_out(guarded: Guarded) -> None:
    with RawConnection(guarded.address) as stranger:
        streams = [stranger.open(CHECK) for _ in range(STRANGERS + 10)]
        assert await asyncio.to_thread(ended, stranger, set(streams[:10]))
        assert await guarded.serves()


async def test_a_request_without_a_token_is_not_received(guarded: Guarded) -> None:
    with RawConnection(guarded.address) as stranger:
        for path in (GET_RUN, EVENTS):
            stream = stranger.open(path)
            sent = await asyncio.to_thread(stranger.send, stream, message(bytes(1 << 20)))
            assert sent <= WINDOW
            assert await asyncio.to_thread(ended, stranger, {stream})


async def test_one_caller_does_not_take_the_places_of_others(guarded: Guarded) -> None:
    waiting = [asyncio.create_task(guarded.get("one", "later")) for _ in range(2)]
    await guarded.busy(CallKind.UNARY, 2)
    assert await guarded.get("one") == "TOO_MANY_CALLS"
    assert await guarded.get("two") == ""
    await guarded.busy(CallKind.UNARY, 2)
    waiting.append(asyncio.create_task(guarded.get("two", "later")))
    await guarded.busy(CallKind.UNARY, 3)
    assert await guarded.get("three") == "TOO_MANY_CALLS"
    assert await guarded.get("admin") == ""
    assert await guarded.is_healthy()
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await guarded.busy(CallKind.UNARY, 0)
    assert await guarded.get("three") == ""


async def test_streams_have_places_of_their_own(guarded: Guarded) -> None:
    proof = Credentials(token=guarded.tokens["one"])
    async with unary_channel(guarded.address, proof) as channel:
        method = channel.unary_stream(EVENTS)
        calls = [method(b"", timeout=120) for _ in range(2)]
        for call in calls:
            await call.read()
        with pytest.raises(grpc.RpcError) as caught:
            await method(b"", timeout=120).read()
        error = from_rpc_error(caught.value)
        assert isinstance(error, ResourceExhausted)
        assert error.retry_after == 1.0
        assert await guarded.get("one") == ""
        for call in calls:
            call.cancel()
    await guarded.busy(CallKind.SERVER_STREAM, 0)


async def test_few_requests_are_received_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, CallKind.UNARY, Limit(64, 32))
    guarded = Guarded(tmp_path)
    guarded.address = await guarded.server.start()
    part, announced = message(bytes(1 << 20), 8 << 20), 0
    with RawConnection(guarded.address, patience=0.02) as caller:
        for _ in range(20):
            stream = caller.open(GET_RUN, authorization=guarded.bearer("one"))
            announced += await asyncio.to_thread(caller.send, stream, part)
        assert announced <= ARRIVING.each * len(part) + 20 * WINDOW
        assert await guarded.get("two") == ""
        assert await guarded.get("admin") == ""
    await guarded.busy(CallKind.UNARY, 0)
    assert await guarded.get("one") == ""
    await guarded.server.stop(0)


async def test_a_call_ends_by_the_deadline_of_the_server(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_admission, "_CALL_SECONDS", 0.05)
    assert await guarded.get("one", "later") == DeadlineExceeded.reason
    monkeypatch.setattr(call_admission, "_ARRIVAL_SECONDS", 0.05)
    with RawConnection(guarded.address) as caller:
        stream = caller.open(GET_RUN, authorization=guarded.bearer("one"))
        assert await asyncio.to_thread(ended, caller, {stream})


# -- connections ------------------------------------------------------------------------------


def is_closed(connection: socket.socket) -> bool:
    connection.settimeout(120)
    with contextlib.suppress(ConnectionError):
        while connection.recv(1 << 16):
            pass
    return True


@pytest.fixture
def connections() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def connected(address: str, stack: contextlib.ExitStack) -> socket.socket:
    host, _, port = address.rpartition(":")
    return stack.enter_context(socket.create_connection((host, int(port)), 120))


async def test_a_connection_that_says_nothing_is_closed(
    monkeypatch: pytest.MonkeyPatch, connections: contextlib.ExitStack
) -> None:
    options = {**dict(server.SERVER_OPTIONS), "grpc.server_handshake_timeout_ms": 100}
    monkeypatch.setattr(server, "SERVER_OPTIONS", list(options.items()))
    served = Server("127.0.0.1:0", [])
    silent = connected(await served.start(), connections)
    assert await asyncio.to_thread(is_closed, silent)
    await served.stop(0)


async def test_a_flood_of_calls_stays_with_its_caller_while_others_are_served(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "RECENT", math.inf)
    monkeypatch.setattr(shares, "LONGEST", 600.0)
    monkeypatch.setattr(shares, "FORGIVEN", 600.0)
    assert await guarded.get("two") == ""
    guarded.server.admission.shares.account("one").charge(1e6)
    paused = guarded.server.admission.paused

    def flood(hostile: RawConnection) -> None:
        for _ in range(20):
            hostile.cancel(hostile.open(EVENTS, authorization=guarded.bearer("one")))
        hostile.wait(lambda: False, 0.01)

    async with asyncio.timeout(120):
        with RawConnection(guarded.address) as hostile:
            while not len(paused):
                await asyncio.to_thread(flood, hostile)
            assert await guarded.serves("two")
            late = hostile.open(CHECK)
            hostile.send(late, message(b""), end=True)
            assert not await asyncio.to_thread(hostile.wait, lambda: late in hostile.ended, 0.2)
            paused.release()
            while late not in hostile.ended:
                await asyncio.to_thread(hostile.wait, lambda: late in hostile.ended, 0.01)
                paused.release()


@pytest.mark.parametrize(
    ("name", "path"), [("one", "/mentorgrad.v1.TrainerService/CreateRun"), ("", GET_RUN)]
)
async def test_refused_calls_without_end_stay_with_their_caller(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch, name: str, path: str
) -> None:
    monkeypatch.setattr(call_admission, "_STRANGERS_RATE", 1e-3)
    monkeypatch.setattr(shares, "RECENT", math.inf)
    assert await guarded.get("two") == ""
    guarded.server.admission.shares.account("one").charge(1e6)
    headers = {"authorization": guarded.bearer(name)} if name else {}
    async with asyncio.timeout(120):
        with RawConnection(guarded.address) as hostile:
            while not len(guarded.server.admission.paused):
                stream = hostile.open(path, **headers)
                await asyncio.to_thread(hostile.wait, lambda s=stream: s in hostile.ended, 1.0)
        assert await guarded.serves("two")


async def test_health_checks_without_end_stay_with_their_caller(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_admission, "_STRANGERS_PAUSE", 600.0)
    async with asyncio.timeout(120):
        with RawConnection(guarded.address) as hostile:
            while not len(guarded.server.admission.paused):
                for path in (CHECK, "/not/there"):
                    stream = hostile.open(path)
                    hostile.send(stream, message(b""), end=True)
                await asyncio.to_thread(hostile.wait, lambda: False, 0.001)
            assert await guarded.is_healthy()


async def test_a_method_that_is_not_there_is_told_at_once_and_leaves_no_trace(
    guarded: Guarded,
) -> None:
    absent = "/mentorgrad.v1.HistoryService/Absent"
    async with asyncio.timeout(120), unary_channel(guarded.address) as channel:
        silent = channel.stream_unary(absent)()  # its first request is never written
        assert await silent.code() is grpc.StatusCode.UNIMPLEMENTED
        assert await silent.details() == "Method not found!"
    assert b"Absent" not in generate_latest(guarded.registry)


async def test_a_service_has_so_many_connections_and_no_more(
    monkeypatch: pytest.MonkeyPatch, connections: contextlib.ExitStack
) -> None:
    monkeypatch.setattr(server, "max_connections", lambda: 2)
    served = Server("127.0.0.1:0", [])
    address = await served.start()
    with RawConnection(address) as one, RawConnection(address) as two:
        for connection in (one, two):
            stream = connection.open(CHECK)
            connection.send(stream, message(b""), end=True)
            assert await asyncio.to_thread(ended, connection, {stream})
        assert await asyncio.to_thread(is_closed, connected(address, connections))
        stream = one.open(CHECK)
        one.send(stream, message(b""), end=True)
        assert await asyncio.to_thread(ended, one, {stream})
    async with unary_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        await stub.Check(health_pb2.HealthCheckRequest(), timeout=120, wait_for_ready=True)
    await served.stop(0)
