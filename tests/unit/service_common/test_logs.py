"""Log lines: in which form, with which facts, and without secrets."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import grpc.aio
import pytest
import structlog

from mentor_service.backends.scripted import ScriptedBackend, repeat
from mentor_service.composition import MentorServer
from mentor_service.profiles import PROFILES
from mentorgrad.domain.advice import (
    AdviseOpen,
    Constraints,
    ProposalKind,
    ProposalRequest,
    ProposeInput,
    TaskCard,
)
from mentorgrad.mentor_client import AsyncMentorClient
from mentorgrad.v1 import trainer_service_pb2 as pb
from mentorgrad.v1.trainer_service_pb2_grpc import (
    TrainerServiceServicer,
    TrainerServiceStub,
    add_TrainerServiceServicer_to_server,
)
from service_common import logs
from service_common.server import Server

log = structlog.get_logger()


class Written:
    """What goes to standard error."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    def getvalue(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    yield Written(capsys)
    structlog.reset_defaults()


def lines(written: Written) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_elsewhere_than_on_a_terminal_a_line_is_json(written: Written) -> None:
    logs.configure("info")
    log.info("happened", number=1)
    log.debug("not of interest")
    (line,) = lines(written)
    assert (line["event"], line["number"], line["level"]) == ("happened", 1, "info")
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize(("form", "on_terminal"), [("console", False), ("auto", True)])
def test_people_get_lines_that_they_can_read(
    written: Written, monkeypatch: pytest.MonkeyPatch, form: str, on_terminal: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: on_terminal)
    logs.configure("info", form)
    log.info("happened", number=1)
    with pytest.raises(json.JSONDecodeError):
        lines(written)
    assert "happened" in written.getvalue()


def test_texts_of_callers_are_not_interpreted_by_a_terminal(written: Written) -> None:
    logs.configure("info", "console")
    log.info("call", run_id="\x1b]0;title\x07\x9b2J")
    try:
        raise ValueError("\x1b[2J")
    except ValueError as error:
        log.error("failed", exc_info=error)
    said = re.sub(r"\x1b\[\d*m", "", written.getvalue())  # the colours are ours
    assert "]0;title2J" in said
    assert all(line.isprintable() for line in said.splitlines())
    assert len(said.splitlines()) > 3


def test_what_always_holds_stands_in_the_lines_of_every_thread(written: Written) -> None:
    logs.configure("info", "json", run_id="r1")
    log.info("here")
    thread = threading.Thread(target=lambda: log.info("there"))
    thread.start()
    thread.join()
    assert [line["run_id"] for line in lines(written)] == ["r1", "r1"]


def test_secrets_stay_out_of_the_log(written: Written) -> None:
    logs.configure("info", "json")
    log.info("store", url="postgresql://user:s3cret@host:5432/runs", note="on a://b:s3cret@c")
    log.info("header", said="authorization: Bearer s3cret-token.x==")
    log.info("driver", error="connection failed: host=h password=s3cret dbname=d")
    try:
        raise ConnectionError("cannot reach postgresql://user:s3cret@host/runs")
    except ConnectionError as error:
        log.error("failed", exc_info=error)
    assert "s3cret" not in written.getvalue()
    first = lines(written)[0]
    assert first["url"] == "postgresql://user:***@host:5432/runs"
    assert "cannot reach" in lines(written)[-1]["exception"]


class Trainer(TrainerServiceServicer):
    async def CancelRun(self, request: Any, context: Any) -> Any:  # noqa: N802
        log.info("within")
        await asyncio.to_thread(log.info, "in a thread")
        return pb.CancelRunResponse()


async def test_every_line_of_a_call_names_its_run_and_the_call(written: Written) -> None:
    logs.configure("debug", "json")
    server = Server("127.0.0.1:0", ["mentorgrad.v1.TrainerService"])
    add_TrainerServiceServicer_to_server(Trainer(), server.grpc)
    address = await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        stub = TrainerServiceStub(channel)
        for run_id in ("r1", "r2"):
            secret = (("authorization", "Bearer s3cret"),)
            request = pb.CancelRunRequest(run_id=run_id)
            await stub.CancelRun(request, timeout=10, metadata=secret)
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.PauseRun(pb.PauseRunRequest(run_id="r3"), timeout=10)
    await server.stop(0)
    said = [(line["event"], line.get("run_id")) for line in lines(written)]
    of_a_call = ["within", "in a thread", "call"]
    assert said[:6] == [(event, run) for run in ("r1", "r2") for event in of_a_call]
    assert "s3cret" not in written.getvalue()
    calls = [line["call_id"] for line in lines(written)[:6]]
    assert len(set(calls[:3])) == len(set(calls[3:])) == 1
    assert calls[0] != calls[3]
    last = lines(written)[-1]
    assert (last["event"], last["run_id"], last["level"]) == ("call", "r3", "info")
    assert last["code"] != "OK"


async def test_lines_of_an_answer_name_its_session(written: Written) -> None:
    logs.configure("info", "json")
    server = MentorServer(ScriptedBackend(repeat(["1. a point\n"])), PROFILES["small"])
    address = await server.start()
    opened = AdviseOpen(
        session_id="session-7",
        card=TaskCard("label_prompt", "news", ("a", "b")),
        constraints=Constraints(ProposalKind.TEXT, n_tokens=4, max_words=4),
    )
    request = ProposalRequest("s0", count=1, timeout=timedelta(seconds=5))
    async with AsyncMentorClient(address) as client:
        await client.propose(ProposeInput(open=opened, request=request))
    await server.stop(0)
    (answered,) = [line for line in lines(written) if line["event"] == "answered"]
    assert (answered["session_id"], answered["request_id"]) == ("session-7", "s0")
    assert answered["call_id"]
