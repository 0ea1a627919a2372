"""PredictService on a real socket, with a classifier that needs no model."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry, generate_latest
from typer.testing import CliRunner

from mentorgrad import (
    AsyncPredictClient,
    Credentials,
    PredictClient,
    Prediction,
    Predictor,
    errors,
)
from mentorgrad.cli.main import app
from mentorgrad.domain.prediction import PredictInput, PredictStreamInput
from mentorgrad.v1 import predict_service_pb2 as pb
from mentorgrad.v1.predict_service_pb2_grpc import PredictServiceStub
from mentorgrad.wire.channels import unary_channel
from mentorgrad.wire.connection import Connection
from service_common import tokens
from service_common.security import Security
from service_common.token_file import TokenFile
from service_common.tokens import Scope
from tests.support.child import Child
from tests.support.told_predictor import INFO, Told
from trainer_service.prediction.service import PredictServer
from trainer_service.prediction.servicer import SERVICE


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def server(registry: CollectorRegistry) -> AsyncIterator[PredictServer]:
    made = PredictServer(Told(), INFO, registry=registry)
    await made.start()
    yield made
    await made.stop(0.0)


@pytest.fixture
async def client(server: PredictServer) -> AsyncIterator[AsyncPredictClient]:
    async with AsyncPredictClient(server.address) as made:
        yield made


async def test_a_call_has_one_prediction_per_text(
    client: AsyncPredictClient, registry: CollectorRegistry
) -> None:
    found = await client.predict(["good", "bad", ""])
    assert found[0] == Prediction("good", 1, (0.25, 0.75))
    assert [one.label for one in found] == ["good", "bad", "bad"]
    assert await client.predict([]) == ()
    assert b"mentorgrad_predict_texts_total 3.0" in generate_latest(registry)


async def test_a_cut_text_is_marked(client: AsyncPredictClient, server: PredictServer) -> None:
    asked = (["good", "wide"], ["bad"], ["wide"])
    found = await asyncio.gather(*map(client.predict, asked))
    assert [[one.is_cut for one in call] for call in found] == [[False, True], [False], [True]]
    texts = ["wide" if n in (0, 299, 5000) else "good" for n in range(5001)]

    def cut_of(*calls: list[str]) -> list[tuple[int, ...]]:
        with Predictor.connect(server.address) as predictor:
            return [(predictor.predict_proba(call), predictor.cut_texts)[1] for call in calls]

    assert await asyncio.to_thread(cut_of, texts, ["good"]) == [(0, 299, 5000), ()]


async def test_a_stream_goes_on_in_order(client: AsyncPredictClient) -> None:
    texts = ["good" if n % 3 == 0 else "bad" for n in range(10_000)]
    found = [one.label async for one in client.predict_stream(iter(texts))]
    assert found == texts
    endless = client.predict_stream(itertools.repeat("good"))
    assert [(await anext(endless)).label for _ in range(5)] == ["good"] * 5
    await endless.aclose()
    assert [one async for one in client.predict_stream([])] == []


async def test_what_predicts_is_said(client: AsyncPredictClient) -> None:
    info = await client.info()
    assert (info.labels, info.use, info.run_id) == (("bad", "good"), "prompt", "r1")
    assert (info.max_texts, info.max_bytes) == (1024, 1_000_000)
    assert info.version


async def test_what_is_not_allowed_names_its_field(client: AsyncPredictClient) -> None:
    wrong: list[tuple[Any, Any, str]] = [
        (["x"] * 1025, None, "texts"),
        (["é" * 90_000] * 6, None, "texts"),
        (["good", "x" * 100_001], None, "texts[1]"),
        (["good", "x\x00"], None, "texts[1]"),
        (["good", "too long"], None, "texts[1]"),
        (["good"], ["a", "b"], "text_pairs"),
        (["good"], ["a"], "text_pairs"),
        (["good", 7], None, "texts[1]"),
        ("good", None, "texts"),
    ]
    for texts, pairs, field in wrong:
        with pytest.raises(errors.InvalidInput) as refused:
            await client.predict(texts, pairs)
        assert [one.field for one in refused.value.violations] == [field]
    stream = client.predict_stream(["good"] * 5000 + ["too long"])
    with pytest.raises(errors.InvalidInput) as refused:
        assert len([one async for one in stream]) == 5000
    assert [one.field for one in refused.value.violations] == ["texts[5000]"]


async def test_the_service_checks_by_itself(server: PredictServer) -> None:
    connection = Connection(server.address)
    stub = connection.unary(PredictServiceStub)
    for request in (
        pb.PredictRequest(texts=["x"] * (PredictInput.MAX_TEXTS + 1)),
        pb.PredictRequest(texts=["x" * 100_001]),
        pb.PredictRequest(texts=["x" * 100_000] * 10 + ["y"]),
        pb.PredictRequest(texts=["x"], text_pairs=["y", "z"]),
    ):
        with pytest.raises(errors.InvalidInput) as refused:
            await connection.call(stub.Predict, request, 60.0)
        assert refused.value.violations
    many = pb.PredictStreamRequest(texts=["x"] * (PredictStreamInput.MAX_TEXTS + 1))
    stream = connection.stream(connection.streams(PredictServiceStub).PredictStream, many, 60.0)
    with pytest.raises(errors.InvalidInput, match="texts: must have at most 50000"):
        await anext(stream)
    await connection.close()


async def test_health_says_when_it_stops(registry: CollectorRegistry) -> None:
    told = Told()
    server = PredictServer(told, INFO, registry=registry)
    async with unary_channel(await server.start()) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=60)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    await server.stop(0.0)
    assert told.closed
    assert b"mentorgrad_serving 0.0" in generate_latest(registry)


async def test_a_call_that_is_open_is_answered_when_the_service_stops() -> None:
    began, let = threading.Event(), threading.Event()

    class Slow(Told):
        def predict_proba(self, texts: Any, pairs: Any = None) -> Any:
            began.set()
            assert let.wait(120)
            return super().predict_proba(texts, pairs)

    server = PredictServer(Slow(), INFO)
    async with AsyncPredictClient(await server.start()) as client:
        asked = asyncio.create_task(client.predict(["good"]))
        assert await asyncio.to_thread(began.wait, 120)
        stopping = asyncio.create_task(server.stop(120.0))
        await asyncio.sleep(0)
        let.set()
        assert (await asked)[0].label == "good"
    await stopping


async def test_the_scope_predict_suffices_and_is_needed(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    given = {scope: tokens.create(file, scope, [scope])[1] for scope in Scope}
    server = PredictServer(Told(), INFO, security=Security(tokens=TokenFile(file)))
    address = await server.start()
    try:
        for scope, token in given.items():
            async with AsyncPredictClient(address, credentials=Credentials(token=token)) as client:
                if not scope.includes(Scope.PREDICT):
                    with pytest.raises(errors.PermissionDenied, match="needs the scope predict"):
                        await client.predict(["good"])
                    continue
                assert (await client.predict(["good"]))[0].label == "good"
                assert (await client.info()).labels == ("bad", "good")
                assert [one.label async for one in client.predict_stream(["bad"])] == ["bad"]
        async with AsyncPredictClient(address) as client:
            with pytest.raises(errors.Unauthenticated):
                await client.predict(["good"])
    finally:
        await server.stop(0.0)


def test_a_process_serves_the_blocking_client_and_the_command(tmp_path: Path) -> None:
    child = Child(tmp_path / "log", "tests.support.told_predictor")
    try:
        with PredictClient(child.address) as client:
            assert [one.label for one in client.predict_stream(["good", "bad"])] == ["good", "bad"]
        with Predictor.connect(child.address) as predictor:
            assert predictor.predict(["good", "bad"]) == ["good", "bad"]
            found = predictor.predict_proba([])
            assert (found.shape, found.dtype) == ((0, 2), np.float64)
            with pytest.raises(errors.InvalidInput, match="as many pairs"):
                predictor.predict_proba(["good"], [])
        rows = tmp_path / "in.csv"
        rows.write_text("id,text\n1,good\n2,too long\n3,bad\n")
        arguments = ["predict", "--server", child.address]
        result = CliRunner().invoke(app, [*arguments, str(rows)])
        assert result.stdout.splitlines()[1:] == ["1,good,good,0.25,0.75", "3,bad,bad,0.75,0.25"]
        assert "in.csv: line 3: takes 99 tokens" in result.stderr
        both = CliRunner().invoke(app, [*arguments, "result", str(rows)])
        assert "--server: the service has its own result" in both.stderr
    finally:
        assert child.stop() == 0
    gone = CliRunner().invoke(app, [*arguments, str(rows)])
    assert "no predict service answers" in gone.stderr
