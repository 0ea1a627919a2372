"""A deployment seen from outside: metrics, traces and logs of a run, what is made of the metrics,
and a stop."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from mentorgrad import AsyncClient
from mentorgrad.client import Client
from mentorgrad.domain.event import EventKind, RunEvent
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import Run, RunState
from mentorgrad.domain.spec import MentorChoice, RunSpec, Stages
from mentorgrad.v1 import history_service_pb2 as pb
from mentorgrad.v1.history_service_pb2_grpc import HistoryServiceStub
from mentorgrad.wire.channels import stream_channel
from service_common.metrics import exposed
from tests.support.collector import Collector
from tests.support.figures import Figures
from tests.support.mentor_process import MentorProcess
from tests.support.monitoring_files import dashboard, rule_tests, rules
from tests.support.promtool import Sample, check_finds, labels_of, samples_of, unknown_in
from tests.support.served_page import served_page
from tests.support.trainer_process import TrainerProcess, eventually

COMMAND = str(Path(sys.executable).with_name("mentorgrad"))


@dataclass(frozen=True)
class Observed:
    """A run, and what could be seen of it from outside."""

    service: TrainerProcess
    """Still there; its log and figures are of the time before."""
    run: Run
    before: Figures
    trainer: Figures
    mentor: Figures
    page: Figures
    collector: Collector
    log: Path


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """A trainer, a mentor, a page and a command in processes of their own, all observed."""
    folder = tmp_path_factory.mktemp("observed")
    secret = folder / "secret"
    secret.write_text("s" * 24)
    with ExitStack() as stack:
        collector = stack.enter_context(Collector())
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        patch.setenv("MENTORGRAD_MENTOR_METRICS", "127.0.0.1:0")
        mentor = MentorProcess(0, 0.05)
        stack.callback(mentor.kill)
        trainer = TrainerProcess(
            folder,
            *("--mentor", f"small={mentor.address}", "--metrics", "127.0.0.1:0"),
            *("--webhook", "ops=https://hooks.test", "--webhook-secret-file", f"ops={secret}"),
            *("--log-level", "debug"),
        )
        stack.callback(trainer.stop)
        before = Figures(trainer.metrics)
        subprocess.run(
            [
                *(COMMAND, "run", "--function", "rastrigin", "--dimensions", "3"),
                *("--mentor", "small", "--proposals", "4", "--stages", "3", "--steps", "60"),
                *("--server", trainer.address, "--json"),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
        with Client(trainer.address) as client:
            (run,) = client.list_runs().runs
        assert run.state is RunState.SUCCEEDED

        def ended() -> bool:
            return Figures(trainer.metrics)("mentorgrad_trainer_workers_ended_total", code="0") == 1

        eventually(ended, "the worker's end is counted")
        figures = (Figures(trainer.metrics), Figures(mentor.metrics), page_figures(trainer.address))
        eventually(lambda: bool(collector.named("mentorgrad run")), "the command's span arrives")
        eventually(lambda: len(collector.named("generate")) == 2, "the mentor's spans arrive")
        log = folder / "log-of-the-run"
        log.write_text(trainer.log.read_text())
        yield Observed(trainer, run, before, *figures, collector, log)


def page_figures(trainer: str) -> Figures:
    """What a page of a trainer shows."""

    async def look() -> Figures:
        registry = CollectorRegistry()
        with exposed("127.0.0.1:0", registry) as shown:
            async with served_page(trainer, registry=registry):
                return await asyncio.to_thread(Figures, shown)

    return asyncio.run(look())


def test_a_run_is_seen_in_metrics_traces_and_logs(observed: Observed) -> None:
    run = observed.run
    assert observed.before("mentorgrad_serving") == 1
    assert observed.before("mentorgrad_trainer_device_idle_share", device="cpu") == 1
    agrees_with_usage(observed.trainer, run)
    agrees_with_the_run(observed.mentor, run)
    spans_lead_from_the_model_to_the_command(observed.collector, run)
    lines_name_their_run(observed.log, run)


def samples(observed: Observed) -> list[Sample]:
    """What Prometheus stores of the services."""
    return [
        sample
        for job in ("trainer", "mentor", "page")
        for sample in samples_of(getattr(observed, job).text, f"mentorgrad-{job}")
    ]


def test_what_the_dashboard_shows_is_there(observed: Observed, tmp_path: Path) -> None:
    known = labels_of(samples(observed))
    assert [unknown for one in dashboard() if (unknown := unknown_in(one, known))] == []
    check_finds(dashboard(), samples(observed), tmp_path)


def test_alert_rules_and_their_tests_name_metrics_that_there_are(observed: Observed) -> None:
    known = labels_of(samples(observed))
    series = [one["series"] for test in rule_tests() for one in test["input_series"]]
    asked = [rule["expr"] for rule in rules()] + series
    assert [unknown for one in asked if (unknown := unknown_in(one, known))] == []


def agrees_with_usage(figures: Figures, run: Run) -> None:
    """What the trainer counted, and what the run says of itself."""
    usage = run.usage
    prefix = "mentorgrad_trainer"
    assert usage.probe_steps > 0
    assert figures(f"{prefix}_steps_total", kind="probe") == usage.probe_steps
    assert figures(f"{prefix}_steps_total") == usage.gradient_steps
    assert figures(f"{prefix}_evaluations_total") == usage.evaluations
    assert figures(f"{prefix}_restarts_total") == run.restarts_applied
    assert figures(f"{prefix}_usable_answers_total") == usage.usable_answers == 2
    assert figures(f"{prefix}_fallbacks_total") == usage.fallbacks == 0
    assert figures(f"{prefix}_tokens_total", kind="prompt") == usage.prompt_tokens > 0
    assert figures(f"{prefix}_tokens_total", kind="reply") == usage.reply_tokens > 0
    answers = f"{prefix}_mentor_answer_seconds"
    assert figures(f"{answers}_count", mentor="small", status="usable") == usage.mentor_calls
    waited = usage.mentor_time.total_seconds()
    assert figures(f"{answers}_sum", mentor="small") == pytest.approx(waited, abs=0.05)
    assert figures(f"{prefix}_store_lag_seconds_count") > 0
    assert figures(f"{prefix}_store_waiting_seconds") == 0
    assert figures(f"{prefix}_device_busy_seconds_total", device="cpu") > 0
    assert figures(f"{prefix}_device_idle_share", device="cpu") == 1  # there is no worker now
    assert figures(f"{prefix}_queue_length") == figures(f"{prefix}_workers") == 0
    assert figures(f"{prefix}_worker_slots") == 1
    created = {"service": "mentorgrad.v1.TrainerService", "method": "CreateRun"}
    assert figures("mentorgrad_grpc_calls_total", code="OK", **created) == 1
    assert figures("mentorgrad_grpc_call_seconds_count", **created) == 1


def agrees_with_the_run(figures: Figures, run: Run) -> None:
    """What the mentor counted, and what the run says of it."""
    prefix = "mentorgrad_mentor"
    assert figures(f"{prefix}_answer_seconds_count", status="usable") == run.usage.mentor_calls
    assert figures(f"{prefix}_answer_seconds_sum") >= run.usage.mentor_calls * 0.05
    assert figures(f"{prefix}_tokens_total", kind="prompt") == run.usage.prompt_tokens
    assert figures(f"{prefix}_tokens_total", kind="reply") == run.usage.reply_tokens
    assert figures(f"{prefix}_proposals_total") == run.usage.mentor_calls * 4
    assert figures(f"{prefix}_queue_length") == 0
    assert figures("mentorgrad_grpc_calls_total", method="GetMentorInfo", code="OK") == 1


def spans_lead_from_the_model_to_the_command(collector: Collector, run: Run) -> None:
    """One trace: the command, the trainer's answer, the worker, and the mentor's."""
    create = "mentorgrad.v1.TrainerService/CreateRun"
    to_the_run = [
        ("mentorgrad-worker", "run"),
        ("mentorgrad-trainer", create),
        ("mentorgrad-cli", create),
        ("mentorgrad-cli", "mentorgrad run"),
    ]
    for span in collector.named("generate"):
        assert collector.path(span) == [
            ("mentorgrad-mentor", "generate"),
            ("mentorgrad-mentor", "answer"),
            ("mentorgrad-worker", "ask"),
            *to_the_run,
        ]
    assert sorted(s.facts["mentorgrad.stage"] for s in collector.named("stage")) == ["0", "1", "2"]
    assert len(collector.named("decide")) == 2
    for name in ("stage", "decide"):
        for span in collector.named(name):
            assert collector.path(span) == [("mentorgrad-worker", name), *to_the_run]
    (whole,) = collector.named("run")
    assert whole.facts["mentorgrad.run_id"] == run.run_id
    (command,) = collector.named("mentorgrad run")
    assert command.trace == whole.trace


def lines_name_their_run(log: Path, run: Run) -> None:
    """Every line of service and worker between the run's creation and its end is about the run."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    events = [line["event"] for line in lines]
    about = [line for line in lines if line["event"] not in ("serving", "stopping")]
    strangers = [line for line in about if "run_id" not in line and "ListRuns" not in str(line)]
    assert strangers == []
    assert {line["run_id"] for line in about if "run_id" in line} == {run.run_id}
    assert {"worker_started", "mentor_session_open", "worker_ended"} <= set(events)
    calls = [line for line in lines if line["event"] == "call"]
    created = next(line for line in calls if line["method"].endswith("/CreateRun"))
    assert created["code"] == "OK"
    assert created["peer"].startswith("ipv4:127.0.0.1:")
    assert len(created["trace_id"]) == 32
    assert len({line["call_id"] for line in calls}) == len(calls)


# -- a stop -----------------------------------------------------------------------------------


async def test_a_stop_is_told_to_who_asks_and_who_follows(observed: Observed) -> None:
    """The last one here that needs the trainer."""
    address = observed.service.address
    waiting = RunSpec(Function("rastrigin", 2), requires={"gpu": "none here has it"})
    async with AsyncClient(address) as client, stream_channel(address) as channel:
        run_id = (await client.create_run(waiting)).run.run_id
        health = states(channel)
        assert await anext(health) == "SERVING"
        request = pb.StreamEventsRequest(run_id=run_id, follow=True)
        responses = aiter(HistoryServiceStub(channel).StreamEvents(request, timeout=120))
        told = [await anext(responses)]
        observed.service.process.terminate()
        assert await anext(health) == "NOT_SERVING"
        told += await to_the_break(responses)
        assert told[-1].closing.resume_after_seq == told[-2].event.seq > 0
    assert await asyncio.to_thread(observed.service.process.wait, 60) == 0


SPEC = RunSpec(
    objective=Function("rastrigin", 2),
    stages=Stages(count=2, steps=1_000_000),
    mentor=MentorChoice("none"),
    checkpoint_interval=timedelta(milliseconds=100),
)


@pytest.mark.campaign
async def test_a_stop_in_mid_run_is_told_and_nothing_is_missed(tmp_path: Path) -> None:
    """How a run goes on with the next service is in `tests/faults/test_workers.py` too, and how a
    watch does, in `tests/rpc/test_drain.py`."""
    first = TrainerProcess(tmp_path)
    second: TrainerProcess | None = None
    seen: list[RunEvent] = []
    news = asyncio.Event()

    async def watch(client: AsyncClient, run_id: str) -> None:
        async for event in client.watch(run_id):
            seen.append(event)
            news.set()

    async def saw(kind: EventKind) -> None:
        while kind not in {event.kind for event in seen}:
            assert not watching.done(), watching
            news.clear()
            await news.wait()

    try:
        async with AsyncClient(first.address) as client:
            run_id = (await client.create_run(SPEC)).run.run_id
            watching = asyncio.create_task(watch(client, run_id))
            watching.add_done_callback(lambda _: news.set())
            await saw(EventKind.CHECKPOINT_SAVED)
            async with stream_channel(first.address) as channel:
                health = states(channel)
                assert await anext(health) == "SERVING"
                request = pb.StreamEventsRequest(run_id=run_id, follow=True)
                following = HistoryServiceStub(channel).StreamEvents(request, timeout=120)
                responses = aiter(following)
                assert (await anext(responses)).event.seq == 1
                first.process.terminate()
                assert await anext(health) == "NOT_SERVING"
                told = await to_the_break(responses)
                assert told[-1].closing.resume_after_seq == told[-2].event.seq
            assert await asyncio.to_thread(first.process.wait, 60) == 0
            second = TrainerProcess(tmp_path, "--listen", first.address)
            await saw(EventKind.RESUMED)
            second.halt_worker()
            await client.cancel_run(run_id)
            second.kill_worker()
            await asyncio.wait_for(watching, 120)
            whole = (await client.get_run(run_id)).last_seq
        assert [event.seq for event in seen] == [*range(1, whole + 1)]
    finally:
        for trainer in (first, second):
            if trainer is not None:
                trainer.stop()


async def to_the_break(responses: Any) -> list[Any]:
    """What a stream sends before the service ends it."""
    told = []

    async def listen() -> None:
        async for response in responses:
            told.append(response)

    with pytest.raises(grpc.aio.AioRpcError, match="shutting down"):
        await listen()
    return told


async def states(channel: grpc.aio.Channel) -> AsyncIterator[str]:
    """What the health service says, as it changes."""
    stub = health_pb2_grpc.HealthStub(channel)
    async for response in stub.Watch(health_pb2.HealthCheckRequest(), timeout=120):
        yield health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)


STOPS_FOREVER = """
import asyncio
from service_common.server import wait_for_signal

async def main():
    signalled = asyncio.create_task(wait_for_signal())
    await asyncio.sleep(0)
    print("serving", flush=True)
    await signalled
    print("stopping", flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


# `tests/unit/service_common/test_waiting.py` has that nothing handles it.
@pytest.mark.campaign
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_stop_that_takes_too_long(second: int) -> None:
    command = [sys.executable, "-c", STOPS_FOREVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "serving\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(second)
        assert process.wait(120) == -second
