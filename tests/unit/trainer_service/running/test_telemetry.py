"""What a worker reports, and what its service makes of it."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from mentorgrad.domain.event import (
    CandidatesScored,
    Finished,
    Payload,
    RestartDecided,
    RunEvent,
    Segment,
    StageStarted,
)
from mentorgrad.domain.run import Run, RunResult, RunState, Usage
from mentorgrad.serialization import from_dict
from trainer_service.agent.metrics import TrainerMetrics
from trainer_service.running.telemetry import Telemetry
from trainer_service.worker_metrics import AnswerMetrics, WorkerMetrics


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def telemetry(clock: Clock) -> Telemetry:
    return Telemetry(clock)


def event(payload: Payload, age: float = 0.0) -> RunEvent:
    return RunEvent("r", 1, 1, datetime.now(UTC) - timedelta(seconds=age), payload)


def test_a_report_says_what_is_new_since_the_last_one(telemetry: Telemetry, clock: Clock) -> None:
    telemetry.stored([event(StageStarted(0)), event(Segment(0, 1, 8))])
    telemetry.stored([event(Segment(0, 9, 12))])
    first = telemetry.report()
    assert (first.steps, first.probe_steps, first.evaluations) == (12, 0, 0)
    spent = Usage(gradient_steps=40, probe_steps=20, evaluations=7, fallbacks=1, prompt_tokens=5)
    clock.now += 2.0
    telemetry.stored([event(RestartDecided(restarted=True, usage=spent))])
    second = telemetry.report()
    assert (second.steps, second.probe_steps, second.restarts) == (8, 20, 1)
    assert (second.evaluations, second.fallbacks, second.prompt_tokens) == (7, 1, 5)
    assert second.seconds == 2.0
    done = Finished(
        RunState.SUCCEEDED, RunResult(usage=Usage(40, 20, evaluations=9), restarts_applied=1)
    )
    telemetry.stored([event(done)])
    assert telemetry.report().evaluations == 2
    assert telemetry.report() == WorkerMetrics()


def test_what_an_earlier_attempt_did_is_not_reported_again(telemetry: Telemetry) -> None:
    telemetry.go_on(
        Run(
            step=20,
            restarts_applied=2,
            usage=Usage(gradient_steps=30, probe_steps=10, evaluations=4),
        )
    )
    telemetry.stored([event(Segment(1, 21, 25))])
    after = Usage(gradient_steps=35, probe_steps=10, evaluations=6)
    telemetry.stored([event(CandidatesScored(usage=after))])
    telemetry.stored(
        [event(Finished(RunState.SUCCEEDED, RunResult(usage=after, restarts_applied=3)))]
    )
    report = telemetry.report()
    assert (report.steps, report.probe_steps, report.evaluations) == (5, 0, 2)
    assert report.restarts == 1


def test_lag_is_the_age_of_a_writes_oldest_event(telemetry: Telemetry) -> None:
    telemetry.stored([event(StageStarted(0), age=30.0), event(Segment(0, 1, 1))])
    telemetry.store_waiting = lambda: 1.5
    report = telemetry.report()
    assert report.store_lags == (pytest.approx(30.0, abs=5.0),)
    assert report.store_waiting == 1.5


def test_idle_is_what_the_runs_thread_waits(telemetry: Telemetry, clock: Clock) -> None:
    clock.now += 1.0
    with telemetry.waiting():
        clock.now += 3.0
        first = telemetry.report()  # in the midst of it
        clock.now += 2.0
    clock.now += 4.0
    second = telemetry.report()
    assert (first.seconds, first.idle) == (4.0, 3.0)
    assert (second.seconds, second.idle) == (6.0, 2.0)

    def elsewhere() -> None:  # as a question that nobody waits for
        with telemetry.waiting():
            clock.now += 5.0

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert telemetry.report().idle == 0.0


def test_a_report_survives_its_line() -> None:
    made = WorkerMetrics(
        steps=3, answers=(AnswerMetrics("small", "usable", 0.5),), store_lags=(0.25,)
    )
    assert from_dict(WorkerMetrics, json.loads(made.to_line())["report"]) == made


def test_the_idle_share_of_a_device_is_that_of_all_its_workers() -> None:
    registry = CollectorRegistry()
    metrics = TrainerMetrics(registry, ("cuda:0", "cuda:1"))

    def idle(device: str) -> float | None:
        labels = {"device": device}
        return registry.get_sample_value("mentorgrad_trainer_device_idle_share", labels)

    def waiting() -> float | None:
        return registry.get_sample_value("mentorgrad_trainer_store_waiting_seconds")

    assert (idle("cuda:0"), idle("cuda:1")) == (1, 1)
    metrics.take("r1", ["cuda:0"], WorkerMetrics(seconds=1.0, idle=0.75, store_waiting=4.0))
    assert idle("cuda:0") == 0.75
    metrics.take("r2", ["cuda:0"], WorkerMetrics(seconds=1.0, idle=0.5, store_waiting=2.0))
    assert (idle("cuda:0"), idle("cuda:1"), waiting()) == (0.25, 1, 4)
    metrics.ended("r1", ["cuda:0"], 0)
    assert (idle("cuda:0"), waiting()) == (0.5, 2)
    metrics.ended("r2", ["cuda:0"], -9)
    assert (idle("cuda:0"), waiting()) == (1, 0)
    metrics.take("r3", ["cuda:0", "cuda:1"], WorkerMetrics(seconds=1.0, idle=0.75, steps=2))
    assert (idle("cuda:0"), idle("cuda:1")) == (0.75, 0.75)
    steps = "mentorgrad_trainer_steps_total"
    assert registry.get_sample_value(steps, {"kind": "stage"}) == 2
    metrics.ended("r3", ["cuda:0", "cuda:1"], 0)
    assert (idle("cuda:0"), idle("cuda:1")) == (1, 1)
    name = "mentorgrad_trainer_workers_ended_total"
    assert registry.get_sample_value(name, {"code": "-9"}) == 1
