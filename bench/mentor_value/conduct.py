"""Executes cells with real services and writes their records."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.digests import model_sha256
from bench.mentor_value.arms import DTYPE, Cell, Model, service_name, spec
from bench.mentor_value.records import Record, RecordFile
from bench.paired import environment
from bench.task_folder import read_tasks
from mentorgrad.cli.support.output import note
from mentorgrad.cli.support.processes import Services
from mentorgrad.client import Client
from mentorgrad.domain.objective import Calibration
from mentorgrad.domain.run import Run, RunState, Score
from mentorgrad.domain.spec import DataFiles, Task
from trainer_service.tasks.builtin import load_builtin

TEST_ROWS = 200
"""Test rows per task at most; the same ones for every run."""

_FIGURES = ("loss", "accuracy", "macro_f1", "raw_loss", "raw_accuracy")


def prepare_tasks(folder: Path | None, only: Sequence[str], into: Path) -> tuple[Task, ...]:
    """The built-in task and those of a folder, with `TEST_ROWS` test rows each.

    Args:
        folder: See `bench.task_folder`; None: the built-in task only.
        only: Names of tasks; empty: all.
        into: Data root of the trainer, for the reduced tasks.

    Raises:
        FileNotFoundError: A task is missing.
    """
    built_in = load_builtin("tickets", "--only")
    found = []
    if not only or built_in.name in only:
        found.append(Task(built_in.name, description=built_in.description, labels=built_in.labels))
    others = tuple(name for name in only if name != built_in.name)
    if folder is not None and (others or not only):
        found += [_reduced(folder, task, into) for task in read_tasks(folder, others)]
    return tuple(found)


def _reduced(folder: Path, task: Task, into: Path) -> Task:
    assert task.data is not None
    target = into / task.name
    target.mkdir(parents=True, exist_ok=True)
    (target / "train.jsonl").write_text((folder / task.data.train).read_text())
    rows = (folder / task.data.test).read_text().splitlines()
    kept = sorted(random.Random(0).sample(range(len(rows)), min(TEST_ROWS, len(rows))))
    (target / "test.jsonl").write_text("".join(f"{rows[place]}\n" for place in kept))
    files = DataFiles(
        train=f"{task.name}/train.jsonl",
        test=f"{task.name}/test.jsonl",
        pair_field=task.data.pair_field,
    )
    return replace(task, data=files)


def test_rows(task: Task, root: Path) -> int:
    """Number of a task's test rows."""
    if task.data is None:
        return len(load_builtin(task.name, "--only").test)
    return len((root / task.data.test).read_text().splitlines())


@contextmanager
def services(
    directory: Path, tuned: Sequence[Model], mentors: Sequence[Model], threads: int
) -> Iterator[Client]:
    """A trainer with one worker, whose runs share the texts' caches, and a mentor per model.

    Args:
        directory: For store, logs and cache; also the data root.
        tuned: The tuned models.
        mentors: The mentors' models.
        threads: Threads of the worker and of each mentor; they work in turn.
    """
    roots = {model.root for model in (*tuned, *mentors) if model.root is not None}
    allowed = [part for root in sorted(roots) for part in ("--model-root", str(root))]
    listen = ["--listen", "127.0.0.1:0", "--threads", str(threads)]
    with Services() as started:
        known = []
        for model in mentors:
            flags = [*listen, "--model", model.reference]
            log = directory / f"{service_name(model.name)}.log"
            address = started.start("mentor", flags, threads, log)
            known += ["--mentor", f"{service_name(model.name)}={address}"]
        flags = [*listen, *known, *allowed, "--data-root", str(directory)]
        flags += ["--workers-per-device", "1", "--runs-per-worker", "50", "--no-warm"]
        flags += ["--store", f"sqlite:///{directory / 'runs.sqlite'}"]
        log = directory / "trainer.log"
        with Client(started.start("trainer", flags, threads, log)) as client:
            yield client


def conduct(
    client: Client,
    cells: Sequence[Cell],
    tasks: Mapping[str, Task],
    tuned: Mapping[str, Model],
    mentors: Mapping[str, Model],
    calibration: Calibration,
    into: RecordFile,
) -> int:
    """Executes cells one after another; appends a record per run that succeeded.

    Returns:
        Number of runs that failed; each is named on standard error, and done again next time.
    """
    digests = {name: model_sha256(model.reference) for name, model in {**tuned, **mentors}.items()}
    failed = 0
    for number, cell in enumerate(cells, start=1):
        task = tasks[cell.task]
        started = time.monotonic()
        asked = spec(cell, tuned[cell.tuned], task, len(task.labels), calibration)
        run = _finished(client, client.create_run(asked).run.run_id)
        seconds = time.monotonic() - started
        where = f"{number} of {len(cells)}: {cell.task} {cell.tuned} {cell.budget} {cell.arm}"
        if run.state is not RunState.SUCCEEDED or run.result is None:
            note(f"{where} seed {cell.seed}: {run.state.value}: {run.reason}")
            failed += 1
            continue
        figures = _figures(run)
        note(
            f"{where} seed {cell.seed}: test loss {figures['test']['loss']:.4f}, accuracy "
            f"{figures['test']['accuracy']:.3f}, {seconds:.0f} s, {figures['text']!r}"
        )
        about = {
            "calibration": calibration.value,
            "dtype": DTYPE.value,
            "tuned_sha256": digests[cell.tuned],
            "mentor_sha256": digests.get(cell.mentor, ""),
            "seconds": round(seconds, 1),
            "date": datetime.now(UTC).date().isoformat(),
            "commit": environment()["commit"],
        }
        into.append(cell, {**figures, **about})
    return failed


def _finished(client: Client, run_id: str) -> Run:
    for _ in client.watch(run_id):
        pass
    return client.get_run(run_id)


def _figures(run: Run) -> Record:
    result, usage = run.result, run.usage
    assert result is not None
    return {
        "test": _score(result.test),
        "selection": _score(result.returned.score),
        "text": result.returned.text,
        "source": result.returned.source.value,
        "restarts": result.restarts_applied,
        "baselines": {item.name: _score(item.test) for item in result.baselines},
        "forward_rows": usage.forward_rows,
        "evaluations": usage.evaluations,
        "gradient_steps": usage.gradient_steps,
        "mentor_seconds": round(usage.mentor_time.total_seconds(), 1),
        "mentor_tokens": [usage.prompt_tokens, usage.reply_tokens],
    }


def _score(score: Score | None) -> dict[str, float] | None:
    if score is None:
        return None
    values: dict[str, Any] = {name: getattr(score, name) for name in _FIGURES}
    return {name: round(value, 5) for name, value in values.items() if value is not None}
