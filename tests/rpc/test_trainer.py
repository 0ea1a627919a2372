"""The trainer service as its clients see it: a real server with real worker processes."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mentorgrad import AsyncClient
from mentorgrad.domain.event import EventKind, Finished, RunEvent
from mentorgrad.domain.objective import Function, LabelPrompt
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import (
    Acceptance,
    Budget,
    DataFiles,
    MentorChoice,
    Optimizer,
    RunSpec,
    Stages,
    Task,
)
from mentorgrad.errors import (
    InvalidInput,
    MentorgradError,
    NotFound,
    PreconditionFailed,
    ResourceExhausted,
)
from mentorgrad.v1 import run_pb2, trainer_service_pb2, trainer_service_pb2_grpc
from mentorgrad.wire.channels import unary_channel
from mentorgrad.wire.codec import to_message
from mentorgrad.wire.error_mapping import from_rpc_error
from service_common.settings import run_app
from tests.support.trainer_process import TrainerProcess, command_line
from trainer_service.cli import app
from trainer_service.control_plane.importing import IMPORTS_AT_ONCE
from trainer_service.objectives.table import OBJECTIVES

QUICK = RunSpec(
    objective=Function("rastrigin", 2),
    optimizer=Optimizer(learning_rate=0.05),
    stages=Stages(count=3, steps=20),
    mentor=MentorChoice("random_tokens", proposals=6),
    acceptance=Acceptance(finalists=2, probe_steps=5),
)
PASSWORD = "hunter2"
LONG = dataclasses.replace(QUICK, stages=Stages(count=2, steps=1_000_000))


@pytest.fixture(scope="module")
def trainer(
    tmp_path_factory: pytest.TempPathFactory, shared_mentor: Any, module_postgres_url: str
) -> Iterator[TrainerProcess]:
    """A service and one worker for all runs; its store is Postgres, with a password."""
    separator = "&" if "?" in module_postgres_url else "?"
    folder = tmp_path_factory.mktemp("trainer")
    (folder / "data").mkdir()
    (folder / "data" / "broken.jsonl").write_text('{"text": "a", "label": 0}\n{"text": \n')
    (folder / "outside.jsonl").write_text('{"text": "a", "label": 0}\n')
    (folder / "data" / "link.jsonl").symlink_to(folder / "outside.jsonl")
    process = TrainerProcess(
        folder,
        *("--mentor", "away=127.0.0.1:9", "--mentor", f"live={shared_mentor.address}"),
        "--queue-limit",
        "3",
        *("--data-root", str(folder / "data"), "--import-limit-events", "60"),
        store=f"{module_postgres_url}{separator}password={PASSWORD}",
        reuse=True,
    )
    yield process
    assert process.stop() == 0


@pytest.fixture
async def client(trainer: TrainerProcess) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(trainer.address) as opened:
        yield opened


async def finish(client: AsyncClient, run_id: str) -> list[RunEvent]:
    return [event async for event in client.watch(run_id)]


async def until(client: AsyncClient, run_id: str, kind: EventKind) -> None:
    watching = client.watch(run_id)
    async for event in watching:
        if event.kind is kind:
            break
    await watching.aclose()


@pytest.fixture(scope="module")
def finished(trainer: TrainerProcess) -> str:
    """A run that succeeded; a worker takes seconds to start, so tests share it."""

    async def create() -> str:
        async with AsyncClient(trainer.address) as client:
            created = await client.create_run(QUICK, request_id="finished")
            assert created.created
            assert (created.run.state, created.warnings) == (RunState.QUEUED, ())
            assert created.run.versions["torch"]
            await finish(client, created.run.run_id)
            return created.run.run_id

    return asyncio.run(create())


# -- the main way -----------------------------------------------------------------------------


async def test_a_run_from_its_creation_to_its_artifact(
    client: AsyncClient, finished: str, tmp_path: Path
) -> None:
    events = await finish(client, finished)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    last = events[-1].payload
    assert isinstance(last, Finished)
    run = await client.get_run(finished)
    assert (run.state, run.step, run.attempt) == (RunState.SUCCEEDED, 60, 1)
    assert run.result is not None
    assert run.result == last.result
    trajectory = await client.trajectory(run.run_id)
    assert trajectory.parameters is not None
    assert trajectory.parameters.shape == (60, 2)
    path = await client.download(run.run_id, "prompt.safetensors", tmp_path)
    assert b"rastrigin" in path.read_bytes()
    with pytest.raises(NotFound) as caught:
        await client.read_artifact(run.run_id, "nothing.txt")
    assert caught.value.reason == "ARTIFACT_NOT_FOUND"


async def test_the_same_request_id_is_the_same_run(client: AsyncClient, finished: str) -> None:
    again = await client.create_run(QUICK, request_id="finished")
    assert (again.created, again.run.run_id) == (False, finished)
    with pytest.raises(MentorgradError) as caught:
        await client.create_run(LONG, request_id="finished")
    assert caught.value.reason == "REQUEST_ID_TAKEN"


async def test_cancel_pause_resume_and_delete(client: AsyncClient) -> None:
    run_id = (await client.create_run(LONG)).run.run_id
    await until(client, run_id, EventKind.SEGMENT)
    with pytest.raises(PreconditionFailed) as caught:
        await client.delete_run(run_id)
    assert caught.value.reason == "TRANSITION_FORBIDDEN"
    assert f"{run_id} is running" in caught.value.message

    await client.pause_run(run_id)
    await until(client, run_id, EventKind.CHECKPOINT_SAVED)
    run = await client.get_run(run_id)
    while run.state is RunState.RUNNING:
        await asyncio.sleep(0.02)
        run = await client.get_run(run_id)
    assert run.state is RunState.PAUSED

    await client.resume_run(run_id)
    await until(client, run_id, EventKind.RESUMED)
    paused_at = run.step
    while run.step <= paused_at:
        await asyncio.sleep(0.02)
        run = await client.get_run(run_id)
    await client.cancel_run(run_id)
    await finish(client, run_id)
    run = await client.get_run(run_id)
    assert (run.state, run.attempt) == (RunState.CANCELLED, 2)

    for act in (client.cancel_run, client.pause_run, client.resume_run):
        with pytest.raises(PreconditionFailed) as caught:
            await act(run_id)
        assert caught.value.reason == "TRANSITION_FORBIDDEN"
        assert f"{run_id} is cancelled" in caught.value.message
    await client.delete_run(run_id)
    with pytest.raises(NotFound) as gone:
        await client.get_run(run_id)
    assert gone.value.reason == "RUN_NOT_FOUND"


async def test_what_waits_is_cancelled_and_paused_at_once_and_the_queue_has_an_end(
    client: AsyncClient,
) -> None:
    busy = (await client.create_run(LONG)).run.run_id
    await until(client, busy, EventKind.STATE_CHANGED)  # claimed
    waiting = [(await client.create_run(QUICK)).run.run_id for _ in range(3)]
    with pytest.raises(ResourceExhausted) as caught:
        await client.create_run(QUICK)
    assert caught.value.reason == "QUEUE_FULL"
    assert caught.value.retry_after > 0
    info = await client.trainer_info()
    assert (info.queued_runs, info.queue_limit, info.worker_slots) == (3, 3, 1)
    assert (await client.cancel_run(waiting[0])).state is RunState.CANCELLED
    assert (await client.pause_run(waiting[1])).state is RunState.PAUSED
    assert (await client.cancel_run(waiting[1])).state is RunState.CANCELLED
    assert (await client.cancel_run(waiting[2])).state is RunState.CANCELLED
    await client.cancel_run(busy)
    await finish(client, busy)


async def test_what_the_trainer_offers(client: AsyncClient) -> None:
    info = await client.trainer_info()
    assert info.devices
    assert set(info.objectives) == {*OBJECTIVES}
    assert "tickets" in info.tasks
    assert {"adamw", "sgd", "zo_sgd", "forward_grad", "cma"} <= set(info.optimizers)
    known = {entry.name: entry for entry in info.mentors}
    assert (known["away"].available, known["perturb"].model) == (False, "control")


# -- export and import ------------------------------------------------------------------------


async def test_an_exported_run_is_imported_again(client: AsyncClient, finished: str) -> None:
    exported = [event async for event in client.export_run(finished)]
    assert (await client.import_run(exported)).run_id == finished  # there already: a no-op
    before = await client.get_run(finished)
    await client.delete_run(finished)
    assert await client.import_run(exported) == before
    with pytest.raises(InvalidInput) as caught:
        await client.import_run(exported[1:])
    assert caught.value.violations[0].field.startswith("events[0]")


async def test_an_import_has_an_end(client: AsyncClient, finished: str) -> None:
    (*_, last) = await finish(client, finished)
    many = [dataclasses.replace(last, seq=seq) for seq in range(1, 62)]
    with pytest.raises(InvalidInput) as caught:
        await client.import_run(many)
    assert caught.value.reason == "IMPORT_TOO_LARGE"


async def test_only_so_many_runs_are_imported_at_once(trainer: TrainerProcess) -> None:
    async with unary_channel(trainer.address) as channel:
        stub: Any = trainer_service_pb2_grpc.TrainerServiceStub(channel)
        held = [stub.ImportRun() for _ in range(IMPORTS_AT_ONCE)]
        try:
            for call in held:
                await call.wait_for_connection()
            error = await import_error(stub)
            while error.reason != "IMPORTS_BUSY":  # the others may be on their way
                error = await import_error(stub)
            assert isinstance(error, ResourceExhausted)
            assert error.retry_after > 0
            assert "being imported already" in error.message
        finally:
            for call in held:
                call.cancel()
        error = await import_error(stub)
        while error.reason == "IMPORTS_BUSY":  # the cancels may be on their way
            error = await import_error(stub)
        assert isinstance(error, InvalidInput)


async def import_error(stub: Any) -> MentorgradError:
    """Of an import of nothing."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ImportRun(iter(()), timeout=120)
    return from_rpc_error(caught.value)


# -- bad input, named -------------------------------------------------------------------------


async def create_raw(address: str, spec: Any, request_id: str = "") -> MentorgradError:
    """CreateRun without the SDK's own checks; returns the error."""
    async with unary_channel(address) as channel:
        stub: Any = trainer_service_pb2_grpc.TrainerServiceStub(channel)
        request = trainer_service_pb2.CreateRunRequest(spec=spec, request_id=request_id)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.CreateRun(request, timeout=120)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return from_rpc_error(caught.value)


def spec(**changes: Any) -> RunSpec:
    return dataclasses.replace(QUICK, **changes)


OWN = Task("own", DataFiles(train="train.jsonl"), "what it is", ("a", "b"))


def own(name: str) -> RunSpec:
    files = DataFiles(train=name)
    return spec(objective=LabelPrompt(), task=dataclasses.replace(OWN, data=files))


def mentored(**changes: Any) -> RunSpec:
    return spec(mentor=MentorChoice("live", **changes))


PROMPT = "spec.objective.label_prompt"
INVALID = "INVALID_INPUT"
# id, spec, reason, field, part of what is said
BAD: list[tuple[str, RunSpec, str, str, str]] = [
    (
        "function",
        spec(objective=Function("sphere")),
        INVALID,
        "spec.objective.function.name",
        "must be one of: rastrigin",
    ),
    (
        "dimensions",
        spec(objective=Function(dimensions=0)),
        INVALID,
        "spec.objective.function.dimensions",
        "at least 1",
    ),
    (
        "task",
        spec(objective=LabelPrompt(), task=Task("nope")),
        "TASK_NOT_FOUND",
        "spec.task.name",
        "'nope' is not a built-in task; known: tickets",
    ),
    ("optimizer", spec(optimizer=Optimizer("lion")), INVALID, "spec.optimizer.name", "adamw, sgd"),
    (
        "nan",
        spec(optimizer=Optimizer(learning_rate=float("nan"))),
        INVALID,
        "spec.optimizer.learning_rate",
        "finite",
    ),
    (
        "negative",
        spec(optimizer=Optimizer(learning_rate=-1.0)),
        INVALID,
        "spec.optimizer.learning_rate",
        "greater than 0",
    ),
    ("below zero", spec(stages=Stages(steps=-1)), INVALID, "spec.stages.steps", "at least 0"),
    (
        "nothing to do",
        spec(stages=Stages(steps=0), mentor=MentorChoice("none")),
        INVALID,
        "spec.stages.steps",
        "a run without gradient steps needs a mentor",
    ),
    (
        "no tokens",
        spec(mentor=MentorChoice("hint_tokens")),
        INVALID,
        "spec.mentor.name",
        "needs an objective with tokens",
    ),
    ("absurd", spec(stages=Stages(10_000, 1_000_000)), INVALID, "spec.stages", "steps in all"),
    (
        "steps",
        spec(budget=Budget(gradient_steps=19)),
        INVALID,
        "spec.budget.gradient_steps",
        "at least 20",
    ),
    (
        "evaluations",
        spec(budget=Budget(evaluations=1)),
        INVALID,
        "spec.budget.evaluations",
        "at least 2",
    ),
    (
        "mentor",
        spec(mentor=MentorChoice("oracle")),
        "UNKNOWN_MENTOR",
        "spec.mentor.name",
        "'oracle' is not known here; known: away, live, none",
    ),
    (
        "strategy",
        mentored(strategy="oracle"),
        "UNKNOWN_STRATEGY",
        "spec.mentor.strategy",
        "'oracle' is not known; known: maao",
    ),
    (
        "strategy option",
        mentored(options={"sigma": 1}),
        "BAD_OPTIONS",
        "spec.mentor.options.sigma",
        "is not known here; known: ",
    ),
    ("proposals", mentored(proposals=256), INVALID, "spec.mentor.proposals", "must be at most"),
    (
        "option",
        spec(mentor=MentorChoice("perturb", options={"sigma": 1})),
        "BAD_OPTIONS",
        "spec.mentor.options.sigma",
        "known: weight, base, scale",
    ),
    (
        "no options",
        spec(mentor=MentorChoice("none", options={"sigma": 1})),
        "BAD_OPTIONS",
        "spec.mentor.options.sigma",
        "none has no options",
    ),
    (
        "value",
        spec(mentor=MentorChoice("perturb", options={"scale": -1})),
        "BAD_OPTIONS",
        "spec.mentor.options.scale",
        "greater than 0",
    ),
    (
        "length",
        spec(objective=LabelPrompt(n_tokens=64, initial_text="word " * 90)),
        "PROMPT_TOO_LONG",
        f"{PROMPT}.initial_text",
        "has 90 tokens; at most 64 (n_tokens) are allowed",
    ),
    (
        "model",
        spec(objective=LabelPrompt(encoder="pkg:nowhere/model")),
        "MODEL_NOT_FOUND",
        f"{PROMPT}.encoder",
        "does not load models from the package 'nowhere'",
    ),
    ("path", own("../outside.jsonl"), "DATA_NOT_FOUND", "spec.task.data.train", "data root"),
    ("link", own("link.jsonl"), "DATA_NOT_FOUND", "spec.task.data.train", "data root"),
    ("missing", own("absent.jsonl"), "DATA_NOT_FOUND", "spec.task.data.train", "'absent.jsonl'"),
    ("malformed", own("broken.jsonl"), "DATA_MALFORMED", "spec.task.data.train", "line 2"),
]


@pytest.mark.parametrize(
    ("bad", "reason", "field", "says"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
async def test_bad_input_is_named(
    trainer: TrainerProcess, bad: RunSpec, reason: str, field: str, says: str
) -> None:
    error = await create_raw(trainer.address, to_message(bad))
    assert isinstance(error, InvalidInput)
    assert error.reason == reason
    named = {violation.field: violation.description for violation in error.violations}
    assert field in named, named
    assert says
    assert says in named[field]
    assert "Traceback" not in error.message


async def test_an_objective_from_the_future_is_refused(trainer: TrainerProcess) -> None:
    error = await create_raw(trainer.address, run_pb2.RunSpec(objective=run_pb2.Objective()))
    assert isinstance(error, InvalidInput)
    assert error.reason == INVALID
    assert error.violations[0].field == "spec.objective"
    assert "label_prompt" in error.violations[0].description


async def test_several_mistakes_are_all_named(trainer: TrainerProcess) -> None:
    bad = spec(optimizer=Optimizer("lion"), budget=Budget(gradient_steps=1))
    error = await create_raw(trainer.address, to_message(bad))
    assert isinstance(error, InvalidInput)
    assert {v.field for v in error.violations} == {
        "spec.optimizer.name",
        "spec.budget.gradient_steps",
    }


async def test_a_request_id_has_an_end(trainer: TrainerProcess) -> None:
    error = await create_raw(trainer.address, to_message(QUICK), "x" * 201)
    assert isinstance(error, InvalidInput)
    assert error.violations[0].field == "request_id"


async def test_an_absent_mentor_is_a_warning_unless_required(client: AsyncClient) -> None:
    created = await client.create_run(spec(mentor=MentorChoice("away", proposals=3)))
    assert len(created.warnings) == 1
    assert "'away' does not answer" in created.warnings[0]
    await client.cancel_run(created.run.run_id)
    with pytest.raises(PreconditionFailed) as caught:
        await client.create_run(spec(mentor=MentorChoice("away", required=True)))
    assert caught.value.reason == "MENTOR_UNAVAILABLE"


async def test_steering_an_unknown_run(client: AsyncClient) -> None:
    for act in (
        *(client.cancel_run, client.finish_run, client.pause_run, client.resume_run),
        client.delete_run,
    ):
        with pytest.raises(NotFound) as caught:
            await act("no-such-run")
        assert caught.value.reason == "RUN_NOT_FOUND"
        assert "the run 'no-such-run' does not exist" in caught.value.message


# -- the process ------------------------------------------------------------------------------


async def test_health_is_told_for_both_services(trainer: TrainerProcess) -> None:
    async with grpc.aio.insecure_channel(trainer.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for name in ("", "mentorgrad.v1.TrainerService", "mentorgrad.v1.HistoryService"):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=120)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_the_service_never_imports_torch(trainer: TrainerProcess) -> None:
    maps = Path(f"/proc/{trainer.process.pid}/maps").read_text()
    assert "libtorch" not in maps
    assert "grpc" in maps


async def test_the_password_of_the_store_is_nowhere_to_be_read(
    trainer: TrainerProcess, client: AsyncClient
) -> None:
    run_id = (await client.create_run(LONG)).run.run_id
    await until(client, run_id, EventKind.SEGMENT)
    (worker,) = trainer.children()
    lines = {pid: command_line(pid) for pid in (trainer.process.pid, worker)}
    await client.cancel_run(run_id)
    await finish(client, run_id)
    assert b"trainer_service" in lines[trainer.process.pid]
    assert b"trainer_service.worker" in lines[worker]
    assert PASSWORD.encode() not in b"".join(lines.values())
    text = trainer.log.read_text()
    assert PASSWORD not in text
    # Of imports that were cancelled, grpc may warn in its own way.
    logged = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    events = [line["event"] for line in logged]
    assert {"serving", "worker_started", "worker_ended"} <= set(events)
    (serving,) = (line for line in logged if line["event"] == "serving")
    assert serving["store"].startswith("postgresql")


def refused(
    store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[Any, str]:
    """Exit code and output of a service that cannot open its store."""
    command = ["trainer_service", "serve", "--listen", "127.0.0.1:0", "--store", store]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        run_app(app, "python -m trainer_service")
    said, error = capsys.readouterr()
    assert said == ""
    return ended.value.code, error


def test_a_store_that_does_not_answer_is_one_readable_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, error = refused(f"postgresql://user:{PASSWORD}@127.0.0.1:1/db", monkeypatch, capsys)
    assert code == 1
    (line,) = error.splitlines()
    assert line.startswith("error: ")
    assert "127.0.0.1" in line
    assert PASSWORD not in error


def test_bad_input_on_the_command_line_is_another_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, error = refused("mysql://here/db", monkeypatch, capsys)
    assert code == 2
    (line,) = error.splitlines()
    assert line.startswith("error: store: must be sqlite:///PATH")
