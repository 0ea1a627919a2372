"""ExperimentService as its clients see it: real sockets, and workers that end runs at once."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mentorgrad import AsyncClient
from mentorgrad.domain.experiment import Arm, ExperimentSpec, ExperimentState, Tuning
from mentorgrad.domain.objective import Function
from mentorgrad.domain.query import RunFilter
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import Budget, MentorChoice, RunSpec, Task
from mentorgrad.errors import (
    AlreadyExists,
    InvalidInput,
    MentorgradError,
    NotFound,
    PreconditionFailed,
    Unavailable,
)
from run_store.temporary_store import TemporaryRunStore
from service_common.server import Server
from tests.support.quick_runs import end_runs
from tests.support.served_runs import served

SPEC = ExperimentSpec(
    name="which",
    description="what is asked",
    base=RunSpec(Function(), budget=Budget(gradient_steps=200)),
    tasks=(Task("toy"),),
    arms=(Arm("none"), Arm("noise", MentorChoice("perturb"))),
    seeds=(0, 1, 2),
)


@pytest.fixture
def store() -> TemporaryRunStore:
    return TemporaryRunStore()


@pytest.fixture
async def service(store: TemporaryRunStore) -> AsyncIterator[Server]:
    async with served(store) as (running, _):
        yield running


@pytest.fixture
async def client(service: Server) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(service.address) as opened:
        yield opened


async def finish(client: AsyncClient, store: TemporaryRunStore, name: str) -> Any:
    while True:
        end_runs(store, lambda run: 2.0 if run.spec.labels["arm"] == "none" else 1.0)
        found = await client.get_experiment(name)
        if found.state.is_final:
            return found
        await asyncio.sleep(0.05)


async def test_an_experiment_from_its_creation_to_its_report(
    client: AsyncClient, store: TemporaryRunStore
) -> None:
    made = await client.create_experiment(SPEC, "key")
    assert made.created
    assert made.warnings == ()
    name = made.experiment.experiment_id
    assert (made.experiment.spec, made.experiment.request_id) == (SPEC, "key")
    assert made.experiment.progress.total == 6
    ended = await finish(client, store, name)
    assert (ended.state, ended.progress.succeeded) == (ExperimentState.FINISHED, 6)
    report = await client.get_report(name)
    assert (report.name, report.description, report.complete) == ("which", "what is asked", True)
    assert [(arm.arm, arm.runs) for arm in report.arms] == [("none", 3), ("noise", 3)]
    assert {cell.selection_loss for cell in report.cells} == {1.0, 2.0}
    page = await client.list_runs(RunFilter(labels={"experiment": name, "arm": "noise"}))
    assert {run.spec.seed for run in page.runs} == {0, 1, 2}
    assert {run.spec.labels["variation"] for run in page.runs} == {"base"}

    again = await client.create_experiment(SPEC, "key")
    assert not again.created
    assert again.experiment.experiment_id == name
    with pytest.raises(AlreadyExists) as caught:
        await client.create_experiment(dataclasses.replace(SPEC, seeds=(9,)), "key")
    assert caught.value.metadata["experiment_id"] == name


async def test_a_partial_report_is_one_too(client: AsyncClient, store: TemporaryRunStore) -> None:
    made = await client.create_experiment(SPEC)
    name = made.experiment.experiment_id
    report = await client.get_report(name)
    assert not report.complete
    while not end_runs(store, lambda _: 1.0):
        await asyncio.sleep(0.01)
    report = await client.get_report(name)
    assert not report.complete
    assert report.cells


async def test_a_cancel_ends_its_runs_too(client: AsyncClient, store: TemporaryRunStore) -> None:
    name = (await client.create_experiment(SPEC)).experiment.experiment_id
    while not store.queued():
        await asyncio.sleep(0.01)
    cancelled = await client.cancel_experiment(name)
    assert (cancelled.state, cancelled.reason) == (
        ExperimentState.CANCELLED,
        "cancelled on request",
    )
    page = await client.list_runs(RunFilter(experiment_id=name))
    assert {run.state for run in page.runs} == {RunState.CANCELLED}
    with pytest.raises(PreconditionFailed) as caught:
        await client.cancel_experiment(name)
    assert caught.value.reason == "TRANSITION_FORBIDDEN"


async def test_experiments_are_listed_newest_first(client: AsyncClient) -> None:
    made = [(await client.create_experiment(SPEC)).experiment.experiment_id for _ in range(3)]
    first = await client.list_experiments(page_size=2)
    rest = await client.list_experiments(page_token=first.next_page_token)
    assert [e.experiment_id for e in (*first.experiments, *rest.experiments)] == made[::-1]
    assert all(e.progress.total == 6 for e in first.experiments)
    with pytest.raises(InvalidInput):
        await client.list_experiments(page_token="x")
    with pytest.raises(InvalidInput):
        await client.list_experiments(page_size=0)


@pytest.mark.parametrize("call", ["get_experiment", "cancel_experiment", "get_report"])
async def test_what_is_not_there_is_said(client: AsyncClient, call: str) -> None:
    with pytest.raises(NotFound) as caught:
        await getattr(client, call)("nobody")
    assert caught.value.reason == "EXPERIMENT_NOT_FOUND"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"arms": SPEC.arms[:1]}, "spec.arms"),
        ({"seeds": (1, 1)}, "spec.seeds"),
        ({"subject": "nobody"}, "spec.subject"),
        ({"tuning": Tuning((0.1,))}, "spec.tuning.seeds"),
        ({"arms": (Arm("a"), Arm("b", changes={"stages": {"cuont": 1}}))}, "spec.arms[1].changes"),
        ({"arms": (Arm("a"), Arm("b", MentorChoice("x")))}, "spec.arms[1].mentor.name"),
        (
            {"arms": (Arm("a"), Arm("b", MentorChoice("perturb", options={"scael": 1})))},
            "spec.arms[1].mentor.options.scael",
        ),
        ({"base": RunSpec(Function(), budget=Budget(gradient_steps=1))}, "spec.base.budget"),
    ],
)
async def test_what_is_wrong_is_refused_whole(
    client: AsyncClient, store: TemporaryRunStore, changes: Any, field: str
) -> None:
    from mentorgrad.v1 import experiment_service_pb2 as pb
    from mentorgrad.wire.codec import to_message

    wrong = dataclasses.replace(SPEC, **changes)
    request = pb.CreateExperimentRequest(spec=to_message(wrong))
    with pytest.raises(InvalidInput) as caught:  # past the client's own checks
        await client._experiments("CreateExperiment", request)
    assert any(item.field.startswith(field) for item in caught.value.violations)
    assert store.list_experiments().experiments == ()


async def test_an_absent_mentor_is_a_warning_and_a_required_one_an_error(
    client: AsyncClient,
) -> None:
    arms = (*SPEC.arms, Arm("m", MentorChoice("absent")), Arm("n", MentorChoice("absent")))
    made = await client.create_experiment(dataclasses.replace(SPEC, arms=arms))
    assert len(made.warnings) == 1
    assert "'absent' does not answer" in made.warnings[0]
    required = (*SPEC.arms, Arm("m", MentorChoice("absent", required=True)))
    with pytest.raises(PreconditionFailed) as caught:
        await client.create_experiment(dataclasses.replace(SPEC, arms=required))
    assert caught.value.reason == "MENTOR_UNAVAILABLE"


async def test_who_drains_takes_no_new_ones_and_still_knows_the_old(
    client: AsyncClient, service: Server
) -> None:
    made = await client.create_experiment(SPEC, "key")
    await service.drain()
    again = await client.create_experiment(SPEC, "key")
    assert again.experiment.experiment_id == made.experiment.experiment_id
    with pytest.raises(MentorgradError) as caught:
        await client.create_experiment(SPEC, "other")
    assert isinstance(caught.value, Unavailable)
