"""The mentor service as a client meets it: a real server."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import struct_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from mentor_service import cli
from mentor_service.backends.scripted import ScriptedBackend, repeat
from mentor_service.composition import MentorServer
from mentor_service.profiles import PROFILES
from mentor_service.servicer import SERVICE, MentorServicer
from mentor_service.strategies import registry
from mentor_service.strategies.options import COMMON
from mentorgrad.domain.advice import (
    AdviseOpen,
    Answer,
    AnswerStatus,
    Batch,
    Constraints,
    MentorInfo,
    ProposalKind,
    ProposalRequest,
    TaskCard,
)
from mentorgrad.domain.run import Candidate, CandidateSource, Score
from mentorgrad.errors import DeadlineExceeded, InvalidInput
from mentorgrad.v1 import advice_pb2
from mentorgrad.v1 import mentor_service_pb2 as pb
from mentorgrad.v1.mentor_service_pb2_grpc import (
    MentorServiceStub,
    add_MentorServiceServicer_to_server,
)
from mentorgrad.wire.channels import stream_channel, unary_channel
from mentorgrad.wire.codec import from_message, to_message
from mentorgrad.wire.error_mapping import from_rpc_error
from service_common.server import Server
from service_common.settings import run_app

GOOD = "1. first words\n2. second words\n3. third words\n"
LABELS = ("billing", "refund", "delivery", "account", "defect", "cancellation")
CARD = TaskCard("label_prompt", "what a customer's message to an online shop is about", LABELS)
OPENED = AdviseOpen("session", CARD, Constraints(n_tokens=8, max_words=6))


class Kept(ScriptedBackend):
    """Outlives its server."""

    async def close(self) -> None:
        return None


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend(repeat([GOOD]))


@pytest.fixture
async def server(backend: ScriptedBackend) -> AsyncIterator[tuple[MentorServer, str]]:
    running = MentorServer(backend, PROFILES["small"])
    address = await running.start()
    yield running, address
    await running.stop(0.1)


@pytest.fixture
async def stub(server: tuple[MentorServer, str]) -> AsyncIterator[Any]:
    async with stream_channel(server[1]) as channel:
        yield MentorServiceStub(channel)


async def refusal(call: Any) -> Any:
    """The error that a call ends with, as the domain sees it."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


def propose_request(**request: Any) -> Any:
    asked = ProposalRequest(**{"request_id": "r1", "count": 3, **request})
    return pb.ProposeRequest(open=to_message(OPENED), request=to_message(asked))


async def test_health_and_reflection_name_the_service(server: tuple[MentorServer, str]) -> None:
    async with unary_channel(server[1]) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        status = await health.Check(health_pb2.HealthCheckRequest(service=SERVICE))
        assert status.status == health_pb2.HealthCheckResponse.SERVING
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = reflection.ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        )
        listed = [
            item.name async for answer in call for item in answer.list_services_response.service
        ]
    assert SERVICE in listed


async def test_info_says_model_strategies_and_limits(stub: Any) -> None:
    response = await stub.GetMentorInfo(pb.GetMentorInfoRequest())
    info = from_message(MentorInfo, response.info)
    assert (info.model, info.backend, info.profile, info.max_proposals) == (
        "scripted",
        "scripted",
        "small",
        64,
    )
    assert info.strategies[0].options_schema["properties"]["top_k"]["type"] == "integer"
    assert info.version


async def test_one_question_with_all_it_needs(stub: Any, backend: ScriptedBackend) -> None:
    request = propose_request()
    shown = Candidate("a", CandidateSource.PROJECTION, text="shown words", score=Score(1.0, 0.5, 9))
    request.batches.append(to_message(Batch(candidates=(shown,))))
    answer = from_message(Answer, (await stub.Propose(request)).answer)
    assert [item.text for item in answer.proposals] == [
        "first words",
        "second words",
        "third words",
    ]
    assert answer.proposals[0].parents == ("a",)
    assert "shown words" in backend.questions[0].user


BAD_OPENS = [
    (advice_pb2.AdviseOpen(), "open.session_id", "INVALID_INPUT", "must not be empty"),
    (
        advice_pb2.AdviseOpen(session_id="s", strategy="oracle"),
        "open.strategy",
        "UNKNOWN_STRATEGY",
        f"must be one of: {', '.join(registry.BUILT_IN)}; not 'oracle'",
    ),
    (
        advice_pb2.AdviseOpen(session_id="s", seed=-1),
        "open.seed",
        "INVALID_INPUT",
        "must be at least 0 and at most 9.22337e+18, not -1",
    ),
    (
        advice_pb2.AdviseOpen(session_id="s", constraints=advice_pb2.Constraints(max_words=0)),
        "open.constraints.max_words",
        "INVALID_INPUT",
        "must be at least 1 and at most 4096, not 0",
    ),
    (
        advice_pb2.AdviseOpen(
            session_id="s",
            constraints=to_message(Constraints(kind=ProposalKind.NUMBERS, lower=-1, upper=1)),
        ),
        "open.constraints.dimensions",
        "INVALID_INPUT",
        "must be at least 1 for proposals of numbers",
    ),
    (
        advice_pb2.AdviseOpen(
            session_id="s",
            options=struct_pb2.Struct(fields={"top_k": struct_pb2.Value(number_value=-1)}),
        ),
        "open.options.top_k",
        "BAD_OPTIONS",
        "must be at least 0, not -1",
    ),
    (
        advice_pb2.AdviseOpen(
            session_id="s",
            options=struct_pb2.Struct(fields={"depth": struct_pb2.Value(number_value=1)}),
        ),
        "open.options.depth",
        "BAD_OPTIONS",
        f"is not known here; known: {', '.join(COMMON)}",
    ),
]


@pytest.mark.parametrize(("opened", "field", "reason", "says"), BAD_OPENS)
@pytest.mark.parametrize("method", ["Propose", "Advise"])
async def test_a_bad_open_names_its_field(
    stub: Any, opened: Any, field: str, reason: str, says: str, method: str
) -> None:
    if method == "Propose":
        asked = to_message(ProposalRequest("r1"))
        error = await refusal(stub.Propose(pb.ProposeRequest(open=opened, request=asked)))
    else:
        call = stub.Advise()
        await call.write(pb.AdviseRequest(open=opened))
        error = await refusal(call.read())
    assert isinstance(error, InvalidInput)
    assert error.reason == reason
    (violation,) = error.violations
    assert (violation.field, violation.description) == (field, says)
    assert error.message == f"{field}: {says}"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"request_id": ""}, "request.request_id"),
        ({"count": 0}, "request.count"),
        ({"count": 65}, "request.count"),
        ({"seed": -5}, "request.seed"),
    ],
)
async def test_a_bad_request_names_its_field(stub: Any, change: dict[str, Any], field: str) -> None:
    error = await refusal(stub.Propose(propose_request(**change)))
    assert isinstance(error, InvalidInput)
    assert field in [violation.field for violation in error.violations]


async def test_a_tensor_that_does_not_fit_names_its_field(stub: Any) -> None:
    request = propose_request()
    batch = request.batches.add()
    batch.parameters.dtype = 1
    batch.parameters.shape.extend([2, 2])
    batch.parameters.data = b"short"
    error = await refusal(stub.Propose(request))
    assert isinstance(error, InvalidInput)
    assert error.reason == "INVALID_INPUT"
    (violation,) = error.violations
    assert violation.field == "batches[0].parameters.data"
    assert violation.description == "must be 16 bytes for shape [2, 2] of float32, not 5"
    assert error.message == f"{violation.field}: {violation.description}"


async def opened_call(stub: Any) -> Any:
    call = stub.Advise()
    await call.write(pb.AdviseRequest(open=to_message(OPENED)))
    first = await call.read()
    assert first.accepted.model == "scripted"
    assert first.accepted.wants.words
    return call


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (pb.AdviseRequest(), "message"),
        (pb.AdviseRequest(open=to_message(OPENED)), "open"),
        (pb.AdviseRequest(batch=to_message(Batch(seq=5))), "batch.seq"),
        (pb.AdviseRequest(request=to_message(ProposalRequest("r", count=100))), "request.count"),
        (pb.AdviseRequest(outcomes=advice_pb2.Outcomes()), "outcomes.request_id"),
    ],
)
async def test_a_bad_message_ends_the_session_and_names_its_field(
    stub: Any, message: Any, field: str
) -> None:
    call = await opened_call(stub)
    await call.write(message)
    error = await refusal(call.read())
    assert isinstance(error, InvalidInput)
    assert error.violations[0].field == field


async def test_a_session_must_start_with_an_open(stub: Any) -> None:
    call = stub.Advise()
    await call.write(pb.AdviseRequest(batch=to_message(Batch(seq=1))))
    error = await refusal(call.read())
    assert error.violations[0].field == "open"


async def test_a_call_without_an_open_is_ended() -> None:
    running = Server("127.0.0.1:0", [SERVICE])
    servicer = MentorServicer(ScriptedBackend(repeat([GOOD])), PROFILES["small"], open_seconds=0.1)
    add_MentorServiceServicer_to_server(servicer, running.grpc)
    async with stream_channel(await running.start()) as channel:
        error = await refusal(MentorServiceStub(channel).Advise().read())
    await running.stop(0.1)
    assert isinstance(error, DeadlineExceeded)
    assert (error.reason, error.message) == (
        "DEADLINE_EXCEEDED",
        "the open message did not arrive within 0.1 s",
    )


async def test_batches_are_acknowledged_and_the_answer_comes_once(
    stub: Any, backend: ScriptedBackend
) -> None:
    call = await opened_call(stub)
    for seq in (1, 2, 1, 3):
        await call.write(pb.AdviseRequest(batch=to_message(Batch(seq=seq))))
    asked = pb.AdviseRequest(request=to_message(ProposalRequest("r1", count=3)))
    await call.write(asked)
    await call.write(asked)
    await call.done_writing()
    responses = []
    while (response := await call.read()) is not grpc.aio.EOF:
        responses.append(response)
    seqs = [
        response.batch_acknowledged.seq
        for response in responses
        if response.WhichOneof("message") == "batch_acknowledged"
    ]
    answers = [
        response.answer for response in responses if response.WhichOneof("message") == "answer"
    ]
    assert seqs == [1, 2, 2, 3]
    assert len(answers) == 2
    assert answers[0] == answers[1]
    assert len(backend.questions) == 1


async def test_a_caller_that_goes_away_ends_the_generation() -> None:
    backend = Kept(repeat([GOOD]), delay=60.0)
    running = MentorServer(backend, PROFILES["small"])
    async with stream_channel(await running.start()) as channel:
        call = await opened_call(MentorServiceStub(channel))
        await call.write(pb.AdviseRequest(request=to_message(ProposalRequest("r1"))))
        while not backend.questions:
            await asyncio.sleep(0.01)
        call.cancel()
        while not backend.cancelled:
            await asyncio.sleep(0.01)
    await running.stop(0.1)
    assert backend.cancelled == 1


async def test_a_stop_tells_open_sessions_and_refuses_new_ones(
    server: tuple[MentorServer, str], stub: Any
) -> None:
    call = await opened_call(stub)
    stopping = asyncio.create_task(server[0].stop(5.0))
    response = await call.read()
    assert response.closing.reason
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    await stopping


async def test_a_busy_backend_is_an_outcome_not_an_error(stub: Any, backend: Any) -> None:
    await backend.close()
    answer = from_message(Answer, (await stub.Propose(propose_request())).answer)
    assert answer.status is AnswerStatus.UNAVAILABLE
    assert answer.detail


# -- the command ------------------------------------------------------------------------------


def test_the_command_serves_says_where_and_stops_on_a_signal() -> None:
    command = [sys.executable, "-m", "mentor_service", "serve", "--listen", "127.0.0.1:0"]
    command += ["--backend", "openai", "--base-url", "http://127.0.0.1:9/v1", "--model", "m"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        announced = json.loads(process.stdout.readline())
        assert announced["service"] == "mentor"
        assert int(announced["address"].rpartition(":")[2]) > 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--listen", "0.0.0.0:0"], "--insecure"),
        (["--model", "/no/such/file.gguf"], "model"),
        (["--backend", "magic"], "backend"),
        (["--backend", "openai", "--model", "m"], "base_url"),
        (["--threads", "0"], "threads"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(
    arguments: list[str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["mentor_service", "serve", *arguments])
    with pytest.raises(SystemExit) as caught:
        run_app(cli.app, "mentor_service")
    assert caught.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert says in line
