"""What arrives that is no request, too large, or for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest
import structlog

from mentorgrad.domain.run import Run
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput, MentorgradError, ResourceExhausted, Unsupported
from mentorgrad.v1 import history_service_pb2 as history
from mentorgrad.v1 import mentor_service_pb2 as mentor
from mentorgrad.v1 import trainer_service_pb2 as trainer
from mentorgrad.v1.history_service_pb2_grpc import (
    HistoryServiceServicer,
    add_HistoryServiceServicer_to_server,
)
from mentorgrad.v1.mentor_service_pb2_grpc import (
    MentorServiceServicer,
    add_MentorServiceServicer_to_server,
)
from mentorgrad.v1.trainer_service_pb2_grpc import (
    TrainerServiceServicer,
    add_TrainerServiceServicer_to_server,
)
from mentorgrad.wire.channels import MAX_MESSAGE_BYTES
from mentorgrad.wire.codec import to_message
from mentorgrad.wire.error_mapping import from_rpc_error
from run_store.servicer import _MAX_COMPARED_BYTES
from service_common.decoding import MAX_PLAIN_BYTES
from service_common.server import Server

V1 = "/mentorgrad.v1"
NO_MESSAGE = b"\xff\xff"
BOMB = bytes(1 << 20)
"""Of which gzip makes a thousandth."""


class Echo(HistoryServiceServicer, TrainerServiceServicer, MentorServiceServicer):
    """One method of each form."""

    async def GetRun(self, request: Any, context: Any) -> Any:  # noqa: N802
        return history.GetRunResponse()

    async def ListArtifacts(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise InvalidInput("x" * 500_000)

    async def StreamEvents(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        yield history.StreamEventsResponse()

    async def ImportRun(self, request_iterator: Any, context: Any) -> Any:  # noqa: N802
        async for _ in request_iterator:
            pass
        return trainer.ImportRunResponse()

    async def Advise(  # noqa: N802
        self, request_iterator: Any, context: Any
    ) -> AsyncIterator[Any]:
        async for _ in request_iterator:
            yield mentor.AdviseResponse()


@pytest.fixture
async def address() -> AsyncIterator[str]:
    server = Server("127.0.0.1:0", ["mentorgrad.v1.HistoryService"])
    add_HistoryServiceServicer_to_server(Echo(), server.grpc)
    add_TrainerServiceServicer_to_server(Echo(), server.grpc)
    add_MentorServiceServicer_to_server(Echo(), server.grpc)
    yield await server.start()
    await server.stop(0)


@pytest.fixture
def every_line() -> Iterator[None]:
    """Nothing is left out of the log, whatever an earlier test has set up in this process."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(0))
    yield
    structlog.configure(**before)


def call(address: str, path: str, *requests: bytes, **options: Any) -> list[bytes]:
    """Any method, with raw bytes; every form is the same on the wire."""
    with grpc.insecure_channel(address, [("grpc.max_send_message_length", -1)]) as channel:
        return list(channel.stream_stream(path)(iter(requests), timeout=120, **options))


async def refused(address: str, path: str, *requests: bytes, **options: Any) -> MentorgradError:
    with pytest.raises(grpc.RpcError) as caught:
        await asyncio.to_thread(call, address, path, *requests, **options)
    return from_rpc_error(caught.value)


UNARY, SERVER_STREAM = f"{V1}.HistoryService/GetRun", f"{V1}.HistoryService/StreamEvents"
CLIENT_STREAM, BOTH = f"{V1}.TrainerService/ImportRun", f"{V1}.MentorService/Advise"
FOREIGN = (
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)


@pytest.mark.parametrize("path", [UNARY, SERVER_STREAM, CLIENT_STREAM, BOTH, *FOREIGN])
async def test_bytes_that_are_no_message_are_the_callers_fault(address: str, path: str) -> None:
    error = await refused(address, path, NO_MESSAGE)
    assert isinstance(error, InvalidInput)
    assert error.reason == "MALFORMED_MESSAGE"


@pytest.mark.parametrize("path", [CLIENT_STREAM, BOTH])
async def test_also_in_the_middle_of_a_stream(address: str, path: str) -> None:
    assert (await refused(address, path, b"", b"", NO_MESSAGE)).reason == "MALFORMED_MESSAGE"


async def test_a_method_without_tensors_takes_small_requests_only(address: str) -> None:
    most = history.GetRunRequest(run_id="x" * (MAX_PLAIN_BYTES - 4)).SerializeToString()
    assert len(most) == MAX_PLAIN_BYTES
    assert await asyncio.to_thread(call, address, UNARY, most) == [b""]
    error = await refused(address, UNARY, most + b"\x0a\x00")
    assert isinstance(error, InvalidInput)
    assert error.reason == "MESSAGE_TOO_LARGE"
    event = trainer.ImportRunRequest(event={"run_id": "x" * (2 * MAX_PLAIN_BYTES)})
    raw = event.SerializeToString()
    assert await asyncio.to_thread(call, address, CLIENT_STREAM, raw) == [b""]


async def test_the_log_does_not_grow_with_what_a_caller_writes(
    address: str, every_line: None
) -> None:
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as log:
        named = history.GetRunRequest(run_id="x" * 500_000).SerializeToString()
        await asyncio.to_thread(call, address, UNARY, named)
        await refused(address, f"{V1}.HistoryService/ListArtifacts", b"")
    assert log
    assert max(len(str(line)) for line in log) < 5_000


@pytest.mark.parametrize("path", [UNARY, CLIENT_STREAM, BOTH])
async def test_nobody_takes_more_than_a_message(address: str, path: str) -> None:
    error = await refused(address, path, bytes(MAX_MESSAGE_BYTES + 1))
    assert isinstance(error, ResourceExhausted)


@pytest.mark.parametrize("path", [UNARY, BOTH, FOREIGN[0]])
async def test_compressed_messages_are_refused_and_not_unpacked(address: str, path: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        await asyncio.to_thread(call, address, path, BOMB, compression=grpc.Compression.Gzip)
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "'gzip' is disabled" in error.details()


@pytest.mark.parametrize("path", [f"{V1}.HistoryService/Nothing", "/no.Service/At", "/", UNARY * 9])
async def test_what_is_not_there_is_unimplemented(address: str, path: str) -> None:
    assert isinstance(await refused(address, path, b""), Unsupported)


async def test_what_is_not_built_in_is_unimplemented(address: str) -> None:
    """Such as a method of a contract newer than the service."""
    assert isinstance(await refused(address, f"{V1}.HistoryService/ListRuns", b""), Unsupported)
    assert isinstance(await refused(address, f"{V1}.MentorService/Propose", b""), Unsupported)


async def test_runs_that_make_no_message_together_are_not_compared(address: str) -> None:
    from mentorgrad.wire.channels import unary_channel
    from run_store.servicer import HistoryServicer

    class Large:
        """A store whose runs have a spec of a megabyte."""

        def get_run(self, run_id: str) -> Run:
            return Run(run_id, spec=RunSpec(labels={"k": "x" * (1 << 20)}))

    large: Any = Large()
    servicer = HistoryServicer(large, lambda: large)
    server = Server("127.0.0.1:0", [])
    add_HistoryServiceServicer_to_server(servicer, server.grpc)
    async with unary_channel(await server.start()) as channel:
        compare = channel.unary_unary(
            f"{V1}.HistoryService/CompareRuns",
            request_serializer=history.CompareRunsRequest.SerializeToString,
            response_deserializer=history.CompareRunsResponse.FromString,
        )
        few = await compare(history.CompareRunsRequest(run_ids=["a", "b"]), timeout=120)
        assert len(few.runs) == 2
        assert few.runs[0] == to_message(Large().get_run("a"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await compare(history.CompareRunsRequest(run_ids=["a", "b", "c"]), timeout=120)
    await server.stop(0)
    error = from_rpc_error(caught.value)
    assert isinstance(error, InvalidInput)
    assert str(_MAX_COMPARED_BYTES) in error.message
