"""Every error of a handler arrives as the domain's error; nothing internal leaks."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from mentorgrad import errors
from mentorgrad.errors import InvalidInput, MentorgradError, Unavailable, Violation
from mentorgrad.v1 import history_service_pb2 as pb
from mentorgrad.v1 import history_service_pb2_grpc as rpc
from mentorgrad.wire.channels import stream_channel, unary_channel
from mentorgrad.wire.error_mapping import CODES, from_rpc_error
from service_common.server import Server, _wrap_unary

SECRET = "password=hunter2 at /secret/path"


class Failing(rpc.HistoryServiceServicer):
    """Raises what it is told to, early and in mid-stream."""

    error: BaseException = RuntimeError(SECRET)

    async def GetRun(  # noqa: N802
        self, request: pb.GetRunRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetRunResponse:
        raise self.error

    async def StreamEvents(  # noqa: N802
        self, request: pb.StreamEventsRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.StreamEventsResponse]:
        yield pb.StreamEventsResponse()
        raise self.error


@pytest.fixture
async def failing() -> AsyncIterator[tuple[Failing, str]]:
    server = Server("127.0.0.1:0", ["mentorgrad.v1.HistoryService"])
    servicer = Failing()
    rpc.add_HistoryServiceServicer_to_server(servicer, server.grpc)
    address = await server.start()
    yield servicer, address
    await server.stop(0)


async def unary_error(address: str) -> MentorgradError:
    async with unary_channel(address) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            await rpc.HistoryServiceStub(channel).GetRun(pb.GetRunRequest(), timeout=120)
        return from_rpc_error(caught.value)


async def stream_error(address: str) -> MentorgradError:
    async with stream_channel(address) as channel:
        call = rpc.HistoryServiceStub(channel).StreamEvents(pb.StreamEventsRequest(), timeout=120)
        with pytest.raises(grpc.RpcError) as caught:
            async for _ in call:
                pass
        return from_rpc_error(caught.value)


@pytest.mark.parametrize("cls", CODES, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("send", [unary_error, stream_error])
async def test_an_error_arrives_as_it_was_raised(failing, cls, send) -> None:
    servicer, address = failing
    servicer.error = cls("seen by the client", reason="MY_REASON", metadata={"run": "r1"})
    error = await send(address)
    assert type(error) is cls
    assert (error.message, error.reason) == ("seen by the client", "MY_REASON")
    assert error.metadata == {"run": "r1"}


@pytest.mark.parametrize("send", [unary_error, stream_error])
async def test_a_defect_says_nothing_of_its_inside(failing, send) -> None:
    servicer, address = failing
    servicer.error = RuntimeError(SECRET)
    error = await send(address)
    assert type(error) is errors.InternalError
    assert "hunter2" not in str(error)


async def test_violations_and_retry_hints_travel(failing) -> None:
    servicer, address = failing
    servicer.error = errors.InvalidInput(violations=[Violation("spec.seed", "must be whole")])
    error = await unary_error(address)
    assert isinstance(error, errors.InvalidInput)
    assert error.violations == (Violation("spec.seed", "must be whole"),)
    servicer.error = errors.ResourceExhausted("full", retry_after=2.5)
    error = await unary_error(address)
    assert isinstance(error, errors.ResourceExhausted)
    assert error.retry_after == 2.5


@pytest.mark.parametrize("letter", ["f", "ж", "🔥"])
async def test_a_thousand_long_violations_still_fit_into_a_status(failing, letter) -> None:
    """Beyond 8 KiB of headers a client may drop the status: the more beyond, the likelier."""
    servicer, address = failing
    servicer.error = errors.InvalidInput(
        violations=[Violation(letter * 900, letter * 900) for _ in range(1000)]
    )
    for _ in range(10):
        error = await unary_error(address)
        assert isinstance(error, errors.InvalidInput)
        assert error.violations


async def test_health_and_reflection_are_on(failing) -> None:
    _, address = failing
    async with unary_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", "mentorgrad.v1.HistoryService"):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=120)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
    import asyncio

    def services() -> list[str]:
        with grpc.insecure_channel(address) as channel:
            return list(ProtoReflectionDescriptorDatabase(channel).get_services())

    assert "mentorgrad.v1.HistoryService" in await asyncio.to_thread(services)


async def test_a_taken_port_is_one_readable_error(failing) -> None:
    _, address = failing
    second = Server(address, ["mentorgrad.v1.HistoryService"])
    with pytest.raises(Unavailable, match="cannot listen"):
        await second.start()
    await second.grpc.stop(0)


@pytest.mark.parametrize("error", [ValueError("a defect"), InvalidInput("is wrong")])
async def test_what_ends_a_call_keeps_nothing_of_its_request(
    error: Exception, request: pytest.FixtureRequest
) -> None:
    """grpc holds it for longer than the call lasts."""

    class Load:
        pass

    class Context:
        async def abort_with_status(self, status: Any) -> None:
            raise grpc.aio.AbortError

    loads: list[weakref.ref[Load]] = []

    async def handler(request: Any, context: Any) -> None:
        load = Load()
        loads.append(weakref.ref(load))
        try:
            raise KeyError
        except KeyError:
            raise error from None

    async def read(raw: bytes) -> bytes:
        return raw

    gc.disable()  # nothing grows old meanwhile
    request.addfinalizer(gc.enable)
    with pytest.raises(grpc.aio.AbortError) as held:
        await _wrap_unary(handler, "/mentorgrad.v1.X/Y", read)(b"", Context())
    assert held.value.__context__ is error
    gc.collect(0)  # as young as all of this is; the whole heap takes a second
    assert loads[0]() is None
