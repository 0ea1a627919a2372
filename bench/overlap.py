"""Share of wall-clock time spent in training steps, with a mentor latency of half a second.

Runs the worker's code on the demo's objective, records to SQLite and streams to the mentor, a
process that gives scripted answers after the latency. Both modes run two stages of equal length
with one question in between, in ABBA blocks.

A training step includes the loss, the gradient and the optimizer's update, in stages and in races,
and the capture of the parameters (projected, recorded and streamed in segments). Wall-clock time
runs from the beginning of the first step to the end of the last. The rest to 1 is waiting for the
mentor, and work between stages: scoring candidates and proposals, the restart decision, saving a
checkpoint. `updates` is the share without capture, `waiting` the share in which the run was blocked
on an answer.

    python -m bench.overlap [--blocks 5] [--steps 80]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from bench.paired import abba, environment
from bench.services import scripted_mentor
from bench.worker import demo_parts
from mentorgrad.cli.support.demo_arms import OBJECTIVE
from mentorgrad.domain.event import Created
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import Acceptance, MentorChoice, MentorMode, RunSpec, Stages
from run_store.open import open_store
from run_store.protocols import RunStore
from trainer_service.running import alternation
from trainer_service.running.capture import TrajectoryCapture
from trainer_service.running.execution import execute
from trainer_service.running.stop_control import StopRequest

LATENCY = 0.5
"""Latency of the mentor, seconds."""


class Stopwatch:
    """Total time of the training steps of one run; wraps a problem and its optimizers."""

    def __init__(self, problem: Any) -> None:
        self._problem = problem
        self._began = 0.0
        self.first = self.last = self.updating = self.capturing = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._problem, name)

    def gradients(self, parameters: Any, rows: Any) -> Any:
        """Starts timing a step."""
        self._began = time.perf_counter()
        self.first = self.first or self._began
        return self._problem.gradients(parameters, rows)

    def timed(self, optimizer: Any) -> Any:
        """Wraps an optimizer, whose update ends a step."""
        step = optimizer.step

        def update(*arguments: Any) -> Any:
            result = step(*arguments)
            self.last = time.perf_counter()
            self.updating += self.last - self._began
            self._began = self.last  # a race's branches are updated one after the other
            return result

        optimizer.step = update
        return optimizer

    def capture(self, *arguments: Any, **options: Any) -> Any:
        """Creates a capture whose time counts too."""
        made = TrajectoryCapture(*arguments, **options)
        add = made.add

        def timed(*arguments: Any) -> None:
            began = time.perf_counter()
            add(*arguments)
            self.last = time.perf_counter()
            self.capturing += self.last - began

        made.add = timed  # type: ignore[method-assign, assignment]
        return made

    @property
    def wall(self) -> float:
        """Seconds from the beginning of the first step to the end of the last."""
        return self.last - self.first


class Bench:
    """Sequential runs of the demo's objective."""

    def __init__(self, store: RunStore, mentor: str, steps: int) -> None:
        self._store = store
        self._steps = steps
        self._parts, self._built = demo_parts("slow", mentor)
        self.waiting: dict[MentorMode, list[float]] = {mode: [] for mode in MentorMode}
        self.updates: dict[MentorMode, list[float]] = {mode: [] for mode in MentorMode}
        self.lag: list[float] = []

    def measure(self, mode: MentorMode) -> float:
        """Executes a run; returns its share of training steps."""
        spec = RunSpec(
            objective=OBJECTIVE,
            stages=Stages(count=2, steps=self._steps, candidates=2),
            mentor=MentorChoice("slow", proposals=4, mode=mode),
            acceptance=Acceptance(finalists=2, probe_steps=10),
            checkpoint_interval=timedelta(hours=1),
        )
        watch: Any = Stopwatch(self._built.problem)
        parts = replace(
            self._parts,
            objective=lambda spec, check: replace(self._built, problem=watch),
            optimizer=lambda spec: watch.timed(self._parts.optimizer(spec)),
        )
        run, _ = self._store.create(Created(spec=spec))
        lease = self._store.claim(run.run_id, "bench", timedelta(minutes=10))
        with mock.patch.object(alternation, "TrajectoryCapture", watch.capture):
            state = execute(self._store, run, lease, parts, StopRequest())
        done = self._store.get_run(run.run_id)
        assert state is RunState.SUCCEEDED, done.reason
        usage = done.usage
        assert (usage.mentor_calls, usage.usable_answers) == (1, 1), usage
        assert usage.gradient_steps == 2 * self._steps + 3 * 10
        self.waiting[mode].append(usage.mentor_time.total_seconds() / watch.wall)
        self.updates[mode].append(watch.updating / watch.wall)
        if mode is MentorMode.OVERLAPPED:
            self.lag.append(usage.lag_steps)
        return float((watch.updating + watch.capturing) / watch.wall)


def medians(shares: dict[MentorMode, list[float]]) -> dict[str, float]:
    """Median share per mode."""
    return {mode.value: round(statistics.median(found), 4) for mode, found in shares.items()}


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--steps", type=int, default=80)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, scripted_mentor(LATENCY) as mentor:
        store = open_store(f"sqlite:///{Path(name) / 'runs.sqlite'}")
        bench = Bench(store, mentor, arguments.steps)
        result = abba(
            lambda: bench.measure(MentorMode.OVERLAPPED),
            lambda: bench.measure(MentorMode.BLOCKING),
            arguments.blocks,
        )
        store.close()
    print(
        json.dumps(
            {
                "overlapped": round(result.a, 4),
                "blocking": round(result.b, 4),
                "updates": medians(bench.updates),
                "waiting": medians(bench.waiting),
                "lag_steps": round(statistics.median(bench.lag)),
                "latency_seconds": LATENCY,
                "steps_a_stage": arguments.steps,
                "blocks": arguments.blocks,
                "environment": environment("torch", "grpcio"),
            }
        )
    )


if __name__ == "__main__":
    main()
