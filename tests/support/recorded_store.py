"""A small store and an export of one run, kept as files, and what was read from them when written.

`tests/contract/test_recorded_store.py` opens both with the present code. The files stay as they
are for as long as a store of their schema must open. To write them again, for a new schema::

    python -m tests.support.recorded_store

which starts a trainer service and executes a few very small runs.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from typer.testing import CliRunner

from mentorgrad import Client
from mentorgrad.cli.main import app
from mentorgrad.domain.event import RunEvent
from mentorgrad.domain.experiment import Arm, ExperimentSpec, ExperimentState
from mentorgrad.domain.objective import Function, LabelPrompt
from mentorgrad.domain.run import Run, RunState
from mentorgrad.domain.spec import (
    Acceptance,
    Budget,
    Capture,
    CaptureContent,
    MentorChoice,
    RunSpec,
    Stages,
    Task,
)
from mentorgrad.serialization import from_dict, to_dict
from run_store.open import open_store
from run_store.protocols import RunReader
from tests.support.interface import FOLDER, written
from tests.support.trainer_process import TrainerProcess, eventually
from trainer_service.costs import Prices, RowCosts
from trainer_service.experiments.reader import ExperimentReader, open_experiments
from trainer_service.running import checkpoint

STORE = FOLDER / "store.sql"
"""The SQLite store as SQL."""
EXPORT = FOLDER / "export.jsonl"
"""What `mentorgrad runs export` wrote of one of its runs."""
READ = FOLDER / "store_read.json"
"""What was read from the store when it was written."""

_RACE = Acceptance(finalists=1, probe_steps=1)

SPECS = (
    RunSpec(
        Function("rastrigin"),
        stages=Stages(count=2, steps=4),
        mentor=MentorChoice("perturb", proposals=3),
        acceptance=_RACE,
        budget=Budget(gradient_steps=30),
        name="Recorded function",
        labels={"recorded": "function"},
    ),
    RunSpec(
        LabelPrompt(n_tokens=1),
        stages=Stages(count=2, steps=2, candidates=1),
        mentor=MentorChoice("random_tokens", proposals=1),
        acceptance=_RACE,
        name="Recorded words",
        labels={"recorded": "words"},
    ),
)
"""Runs that succeed; the last one is exported."""

PAUSED = RunSpec(
    Function("ackley"),
    stages=Stages(count=1, steps=1_000_000),
    capture=Capture(CaptureContent.OFF),
    name="Recorded pause",
    labels={"recorded": "paused"},
)
"""A run that is paused, so that its checkpoint can be gone on from."""

EXPERIMENT = ExperimentSpec(
    name="recorded",
    description="Two arms and two seeds, as small as they can be.",
    base=RunSpec(
        Function("rastrigin"),
        stages=Stages(count=2, steps=2),
        acceptance=_RACE,
        capture=Capture(CaptureContent.OFF),
        budget=Budget(gradient_steps=6),
    ),
    tasks=(Task("rastrigin"),),
    arms=(Arm("none"), Arm("perturb", MentorChoice("perturb", proposals=1))),
    seeds=(0, 1),
    subject="perturb",
)


# -- reading ----------------------------------------------------------------------------------


def restore(path: Path) -> str:
    """Makes the recorded store a file again; returns its URL."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(STORE.read_text(encoding="utf-8"))
    return f"sqlite:///{path}"


def exported_events() -> Iterator[RunEvent]:
    """The events of the recorded export."""
    for line in EXPORT.read_text(encoding="utf-8").splitlines():
        yield from_dict(RunEvent, json.loads(line))


def read_runs(reader: RunReader) -> dict[str, Any]:
    """Everything that a store says about its runs by themselves, arrays by their digests."""
    return {run.run_id: read_run(reader, run) for run in _single_runs(reader)}


def _single_runs(reader: RunReader) -> list[Run]:
    """The runs of no experiment: those have a label of their own."""
    return [run for run in reader.list_runs().runs if "recorded" in run.spec.labels]


def read_run(reader: RunReader, run: Run) -> dict[str, Any]:
    """Everything that a store says about a run."""
    events = list(reader.events(run.run_id))
    trajectory = reader.trajectory(run.run_id)
    values = trajectory.parameters
    found = {
        "run": to_dict(run),
        "events": dict(Counter(event.kind.value for event in events)),
        "last_event": to_dict(events[-1]),
        "candidates": [to_dict(item) for item in reader.list_candidates(run.run_id).candidates],
        "snapshots": [to_dict(item) for item in trajectory.snapshots],
        "stages": list(trajectory.stages),
        "parameters": None
        if values is None
        else {
            "shape": list(values.shape),
            "sha256": hashlib.sha256(values.astype("<f4").tobytes()).hexdigest(),
        },
        "artifacts": {
            item.name: hashlib.sha256(reader.read_artifact(run.run_id, item.name)).hexdigest()
            for item in reader.artifacts(run.run_id)
        },
    }
    return dict(json.loads(json.dumps(found)))


def read_checkpoints(reader: RunReader) -> dict[str, Any]:
    """Where a resumed worker would go on, per run."""
    found = {}
    device = torch.device("cpu")
    for run in _single_runs(reader):
        with torch.random.fork_rng(devices=[]):
            seq, state, moments, names = checkpoint.find(
                reader, run.run_id, run.spec, Prices(RowCosts(), 1, 1), device
            )
        if state is not None:
            found[run.run_id] = {
                "seq": seq,
                "step": state.step,
                "parameters": state.parameters.tolist(),
                "moments": sorted(moments),
                "names": list(names),
                "pool": [entry.candidate.candidate_id for entry in state.pool.entries],
                "usage": to_dict(state.ledger.usage),
            }
    return dict(json.loads(json.dumps(found)))


def read_experiments(reader: ExperimentReader) -> dict[str, Any]:
    """Experiments with their progress and their cells. Statistics and verdicts are left out: a
    later version may compute them in another way."""
    found = {}
    for item in reader.list_experiments().experiments:
        report = reader.get_report(item.experiment_id)
        found[item.experiment_id] = {
            "experiment": to_dict(reader.get_experiment(item.experiment_id)),
            "complete": report.complete,
            "cells": [to_dict(cell) for cell in report.cells],
        }
    return dict(json.loads(json.dumps(found)))


# -- writing ----------------------------------------------------------------------------------


def main() -> None:
    """Executes the runs and writes the files."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = TrainerProcess(Path(folder), "--device", "cpu", "--no-warm")
        try:
            with Client(trainer.address) as client:
                exported = _execute(client)
        finally:
            trainer.stop()
        url = trainer.store
        path = url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path)) as database:
            # Large, and of no use once a run has succeeded; one is kept, for its pool.
            database.execute(
                "DELETE FROM blobs WHERE checkpoint AND run_id IN"
                " (SELECT run_id FROM runs WHERE state = 'succeeded' AND request_id != ?)",
                [_request_id(SPECS[0])],
            )
            database.commit()
            STORE.write_text("\n".join(database.iterdump()) + "\n", encoding="utf-8")
        arguments = ["runs", "export", exported, "--store", url, "-o", str(EXPORT)]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        EXPORT.chmod(0o644)
        READ.write_text(written(read_all(url)), encoding="utf-8")
    print(f"written to {FOLDER}", file=sys.stderr)


def read_all(url: str) -> dict[str, Any]:
    """Everything that a store says."""
    with closing(open_store(url)) as store:
        runs, checkpoints = read_runs(store), read_checkpoints(store)
    with closing(open_experiments(url)) as reader:
        experiments = read_experiments(reader)
    return {"runs": runs, "checkpoints": checkpoints, "experiments": experiments}


def _execute(client: Client) -> str:
    """Executes runs and experiment; returns the id of the run to export."""
    exported = ""
    for spec in SPECS:
        exported = client.create_run(spec, _request_id(spec)).run.run_id
        _wait(client, exported, RunState.SUCCEEDED)
    paused = client.create_run(PAUSED, _request_id(PAUSED)).run.run_id
    eventually(lambda: client.get_run(paused).state is RunState.RUNNING, "running")
    client.pause_run(paused)
    _wait(client, paused, RunState.PAUSED)
    begun = client.create_experiment(EXPERIMENT, "recorded-experiment").experiment.experiment_id
    eventually(
        lambda: client.get_experiment(begun).state is ExperimentState.FINISHED, "finished", 120
    )
    return exported


def _request_id(spec: RunSpec) -> str:
    return spec.name.lower().replace(" ", "-")


def _wait(client: Client, run_id: str, state: RunState) -> None:
    eventually(lambda: client.get_run(run_id).state is state, f"{run_id} {state}")


if __name__ == "__main__":
    main()
