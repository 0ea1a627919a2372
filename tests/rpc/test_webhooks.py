"""Webhooks at a trainer service: what specs may name, and who is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

from mentorgrad import AsyncClient
from mentorgrad.cli.main import app
from mentorgrad.domain.experiment import Arm, ExperimentSpec
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import MentorChoice, RunSpec, Stages, Task
from mentorgrad.errors import InvalidInput
from run_store.open import open_for_service
from service_common.security import Security
from tests.support.thread_executor import ThreadExecutor
from tests.support.webhook_receiver import Receiver
from trainer_service import composition
from trainer_service.agent import local_agent
from trainer_service.settings import TrainerSettings
from trainer_service.webhooks import posting

SPEC = RunSpec(
    Function("rastrigin", 2),
    stages=Stages(count=1, steps=3),
    mentor=MentorChoice("none"),
    name="told",
    webhooks=("ops",),
)
UNKNOWN = replace(SPEC, webhooks=("ops", "who"))


@pytest_asyncio.fixture
async def served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[AsyncClient, Receiver]]:
    """A trainer with one webhook, and its receiver."""
    monkeypatch.setattr(local_agent, "LocalExecutor", ThreadExecutor)
    monkeypatch.setattr(posting, "SECONDS", 3600.0)
    async with AsyncExitStack() as stack:
        receiver = stack.enter_context(Receiver())
        settings = TrainerSettings(
            listen="127.0.0.1:0",
            store=f"sqlite:///{tmp_path}/runs.sqlite",
            threads=1,
            device="cpu",
            webhook={"ops": f"http://127.0.0.1:{receiver.port}/"},
            webhook_private=("ops",),
            webhook_link="https://page.lan/runs/{run_id}",
        )
        store = open_for_service(settings.store)
        stack.callback(store.close)
        address = await composition.start_service(
            settings, store, stack, Security(), CollectorRegistry()
        )
        yield await stack.enter_async_context(AsyncClient(address)), receiver


async def test_the_end_of_a_run_is_told(served: tuple[AsyncClient, Receiver]) -> None:
    client, receiver = served
    assert (await client.trainer_info()).webhooks == ("ops",)
    run_id = (await client.create_run(SPEC)).run.run_id
    await asyncio.to_thread(receiver.arrived.wait, 120)
    (said,) = receiver.said()
    run = await client.get_run(run_id)
    assert run.state is RunState.SUCCEEDED
    assert said["type"] == "run.succeeded"
    assert said["data"] == {
        "event_id": f"{run_id}.{run.last_seq}",
        "run_id": run_id,
        "sequence": run.last_seq,
        "state": "succeeded",
        "name": "told",
        "owner": "local",
        "best_selection_loss": run.best_selection_loss,
        "link": f"https://page.lan/runs/{run_id}",
    }
    flags = ("--function", "rastrigin", "--webhook", "ops", "--mentor", "none", "--detach")
    done = await asyncio.to_thread(
        CliRunner().invoke, app, ["run", *flags, "--server", client.target]
    )
    assert done.exit_code == 0, done.output
    (started, _) = (await client.list_runs()).runs
    assert started.spec.webhooks == ("ops",)
    await client.cancel_run(started.run_id)
    with pytest.raises(InvalidInput, match="'who' is not known here; known: ops") as caught:
        await client.create_run(UNKNOWN)
    assert caught.value.reason == "UNKNOWN_WEBHOOK"
    assert [one.field for one in caught.value.violations] == ["spec.webhooks[1]"]
    arms = (Arm("a"), Arm("b", changes={"webhooks": ["who"]}))
    for base, field in (
        (UNKNOWN, "spec.base.webhooks[1]"),
        (SPEC, "spec.arms[1].changes.webhooks[0]"),
    ):
        with pytest.raises(InvalidInput) as caught:
            await client.create_experiment(
                ExperimentSpec(base=base, arms=arms, tasks=(Task("a"),), seeds=(1, 2))
            )
        assert field in [one.field for one in caught.value.violations]
