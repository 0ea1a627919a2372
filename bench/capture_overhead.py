"""Cost of capturing the trajectory: steps per second with full capture, relative to no capture.

The demo's objective, one stage. On: words and parameters of every step, recorded to SQLite and
streamed to a mentor process. Off: the same production loop, store and mentor with `capture.content
= off`. Times are taken from the log: from the start of the stage until its final candidates are
scored, plus from the run's last event until everything is durable and the mentor session is
closed.

    python -m bench.capture_overhead [--blocks 10] [--steps 150] [--device cpu]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.paired import abba, environment
from bench.services import mentor_process
from bench.worker import demo_parts
from mentorgrad.cli.support.demo_arms import OBJECTIVE
from mentorgrad.domain.event import Created, EventKind
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import Capture, CaptureContent, MentorChoice, RunSpec, Stages
from run_store.open import open_store
from run_store.protocols import RunStore
from trainer_service.running.execution import Parts, execute
from trainer_service.running.stop_control import StopRequest


class Bench:
    """Runs of the demo's objective."""

    def __init__(self, store: RunStore, mentor: str, steps: int, device: str) -> None:
        self._store = store
        self._steps = steps
        parts, built = demo_parts("small", mentor, device)
        self._parts: Parts = replace(parts, objective=lambda spec, check: built)

    def measure(self, content: CaptureContent) -> float:
        """Steps per second of one run."""
        spec = RunSpec(
            objective=OBJECTIVE,
            stages=Stages(count=1, steps=self._steps, candidates=1),
            mentor=MentorChoice(name="small"),
            capture=Capture(content=content),
            checkpoint_interval=timedelta(hours=1),
        )
        run, _ = self._store.create(Created(spec=spec))
        lease = self._store.claim(run.run_id, "bench", timedelta(minutes=10))
        state = execute(self._store, run, lease, self._parts, StopRequest())
        ended = datetime.now(UTC)
        assert state is RunState.SUCCEEDED, self._store.get_run(run.run_id).reason
        times = {event.kind: event.time for event in self._store.events(run.run_id)}
        assert EventKind.MENTOR_LOST not in times
        self._check_recorded(run.run_id, content)
        taken = times[EventKind.CANDIDATES_SCORED] - times[EventKind.STAGE_STARTED]
        taken += ended - times[EventKind.FINISHED]
        return self._steps / taken.total_seconds()

    def _check_recorded(self, run_id: str, content: CaptureContent) -> None:
        path = self._store.trajectory(run_id)
        on = content is CaptureContent.TEXT_AND_PARAMETERS
        assert len(path.snapshots) == (self._steps if on else 0)
        if on:
            assert path.parameters is not None
            assert all(snapshot.text for snapshot in path.snapshots)


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, mentor_process("--threads", "1") as mentor:
        store = open_store(f"sqlite:///{Path(name) / 'runs.sqlite'}")
        bench = Bench(store, mentor, arguments.steps, arguments.device)
        result = abba(
            lambda: bench.measure(CaptureContent.TEXT_AND_PARAMETERS),
            lambda: bench.measure(CaptureContent.OFF),
            arguments.blocks,
        )
        store.close()
    print(
        json.dumps(
            {
                "ratio": round(result.ratio, 4),
                "quartiles": [round(result.low, 4), round(result.high, 4)],
                "steps_per_second": {"on": round(result.a, 1), "off": round(result.b, 1)},
                "milliseconds_per_snapshot": round(1e3 / result.a - 1e3 / result.b, 3),
                "steps": arguments.steps,
                "blocks": arguments.blocks,
                "device": arguments.device,
                "environment": environment("torch", "grpcio", "sqlalchemy"),
            }
        )
    )


if __name__ == "__main__":
    main()
