"""SIGKILL in earnest: a real service and the workers it spawns, killed at random moments.

    python -m campaigns.faults.kills --kills 20 function-adamw label_prompt-sgd

Every case runs twice, undisturbed and killed. The last line is one JSON object: for each case what
was injected, what the effective log lost or doubled, whether the artifact has the same bytes, and
the seconds from each kill to the next worker's claim.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from campaigns.faults.kill_cases import CASES, outcome, recoveries
from mentorgrad.domain.event import Created
from mentorgrad.domain.spec import RunSpec, Stages
from run_store.open import open_store
from run_store.protocols import RunStore
from tests.support.trainer_process import TrainerProcess

STEPS = {"function": 20_000, "label_prompt": 500}
"""Steps of a stage: enough for a run that outlasts 20 kills."""


@dataclass
class Report:
    """Of one case."""

    injected: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    doubled: int = 0
    same_bytes: bool = False
    recovered: dict[str, list[float]] = field(default_factory=dict)
    """Victim → seconds."""
    median: dict[str, float] = field(default_factory=dict)
    longest: dict[str, float] = field(default_factory=dict)


def long_run(case: str) -> RunSpec:
    steps = STEPS[case.partition("-")[0]]
    stages = Stages(count=3, steps=steps, candidates=3)
    return replace(CASES[case], stages=stages, checkpoint_interval=timedelta(milliseconds=200))


def execute(
    folder: Path, spec: RunSpec, kills: int, draw: random.Random
) -> tuple[str, str, list[tuple[str, float]]]:
    """(URL, run id, kills as victim and time) of a run that is executed by real processes."""
    folder.mkdir()
    trainer = _serve(folder)
    store = open_store(trainer.store)
    run_id = store.create(Created(spec=spec))[0].run_id
    done: list[tuple[str, float]] = []
    attempt = 0
    try:
        while _await_claim(store, run_id, attempt):
            attempt = store.get_run(run_id).attempt
            if len(done) == kills:
                continue
            time.sleep(draw.uniform(0.1, 4.0))
            if store.progress(run_id)[1].is_final:
                break
            victim = draw.choice(("worker", "service", "both"))
            workers = trainer.children()
            killed_at = time.time()
            if victim != "worker":
                trainer.process.kill()
            if victim != "service":
                for worker in workers:
                    os.kill(worker, signal.SIGKILL)
            if victim != "worker":
                trainer.kill()
                trainer = _serve(folder)
            if not store.progress(run_id)[1].is_final:
                done.append((victim, killed_at))
    finally:
        store.close()
        trainer.stop()
    return trainer.store, run_id, done


def _serve(folder: Path) -> TrainerProcess:
    return TrainerProcess(folder, "--max-restarts", "1000")


def _await_claim(store: RunStore, run_id: str, attempt: int) -> bool:
    """Waits for a later attempt; whether one came before the run's end."""
    while True:
        run = store.get_run(run_id)
        if run.state.is_final:
            return False
        if run.attempt > attempt:
            return True
        time.sleep(0.02)


def report_of(case: str, kills: int, seed: int, folder: Path) -> Report:
    draw, report = random.Random(seed), Report()
    url, run_id, _ = execute(folder / f"{case}-whole", long_run(case), 0, draw)
    whole = outcome(url, run_id)
    url, run_id, done = execute(folder / f"{case}-killed", long_run(case), kills, draw)
    killed = outcome(url, run_id)
    report.lost, report.doubled = killed.differences(whole)
    report.same_bytes = killed.artifact == whole.artifact
    times = recoveries([moment for _, moment in done], killed.claims)
    for (victim, _), seconds in zip(done, times, strict=True):
        report.recovered.setdefault(victim, []).append(round(seconds, 2))
    report.injected = {v: len(s) for v, s in report.recovered.items()}
    report.median = {v: round(statistics.median(s), 2) for v, s in report.recovered.items()}
    report.longest = {v: max(s) for v, s in report.recovered.items()}
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cases", nargs="*", default=list(CASES))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    reports = {}
    with tempfile.TemporaryDirectory(prefix="kills") as folder:
        for case in arguments.cases:
            reports[case] = asdict(report_of(case, arguments.kills, arguments.seed, Path(folder)))
            sys.stderr.write(f"{case}: {json.dumps(reports[case])}\n")
    sys.stdout.write(json.dumps(reports) + "\n")


if __name__ == "__main__":
    main()
