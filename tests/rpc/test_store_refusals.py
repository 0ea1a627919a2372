"""A store that may only be read, and one that is lost: what callers are told."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import grpc.aio
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from mentorgrad.async_client import AsyncClient
from mentorgrad.domain.event import Created
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import PreconditionFailed, Unavailable
from run_store.open import open_for_service, open_store
from run_store.sql_store import SqlRunStore
from service_common import logs
from service_common.health import in_thread
from tests.support.postgres_roles import reader_of
from tests.support.served_runs import served
from tests.support.toy_run import toy_log
from trainer_service.agent.store_metrics import StoreMetrics
from trainer_service.composition import _store_check

CHANGES: dict[str, Callable[[AsyncClient, str, Path], Awaitable[Any]]] = {
    "create_run": lambda client, run_id, file: client.create_run(RunSpec()),
    "cancel_run": lambda client, run_id, file: client.cancel_run(run_id),
    "pause_run": lambda client, run_id, file: client.pause_run(run_id),
    "delete_run": lambda client, run_id, file: client.delete_run(run_id),
    "import_run": lambda client, run_id, file: client.import_run(toy_log()),
    "upload_data": lambda client, run_id, file: client.upload_data(file),
}


async def test_a_user_who_may_only_read_serves_the_history(
    postgres_url: str, tmp_path: Path
) -> None:
    with closing(open_store(postgres_url)) as writer:
        run, _ = writer.create(Created())
    file = tmp_path / "rows.jsonl"
    file.write_text("{}")
    metrics = StoreMetrics(CollectorRegistry())
    with reader_of(postgres_url) as (url, *_), closing(open_for_service(url)) as opened:
        store = cast(SqlRunStore, opened)
        check = in_thread(_store_check(store, metrics))
        async with served(store, check=check) as (_, address), AsyncClient(address) as client:
            assert await statuses(address) == {
                "": "SERVING",
                "History": "SERVING",
                "Trainer": "NOT_SERVING",
                "Experiment": "NOT_SERVING",
            }
            assert (await client.get_run(run.run_id)).state is RunState.QUEUED
            for name, change in CHANGES.items():
                with pytest.raises(PreconditionFailed) as caught:
                    await change(client, run.run_id, file)
                assert caught.value.reason == "STORE_READ_ONLY", name
                assert caught.value.message == "the run store cannot be written"


async def statuses(address: str) -> dict[str, str]:
    async with grpc.aio.insecure_channel(address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        found = {}
        for name in ("", "History", "Trainer", "Experiment"):
            service = f"mentorgrad.v1.{name}Service" if name else ""
            answer = await check(health_pb2.HealthCheckRequest(service=service), timeout=60)
            found[name] = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        return found


async def test_callers_are_not_told_where_a_lost_store_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runs.db"
    with closing(open_store(f"sqlite:///{path}")) as opened:
        run, _ = opened.create(Created())
        logs.configure("info", "json")
        async with (
            served(cast(SqlRunStore, opened)) as (_, address),
            AsyncClient(address) as client,
        ):
            with closing(sqlite3.connect(path)) as other:
                other.execute("ALTER TABLE runs RENAME TO away")
            for ask in (client.get_run, client.cancel_run):
                with pytest.raises(Unavailable) as caught:
                    await ask(run.run_id)
                assert caught.value.message == "the run store does not answer"
                assert caught.value.reason == "STORE_AWAY"
            await asyncio.sleep(0)
    structlog.reset_defaults()
    assert f"the run store sqlite:///{path} does not answer" in capsys.readouterr().err
