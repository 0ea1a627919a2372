"""A run whose rows several processes share: its files, and its spec."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from mentorgrad.domain.objective import PromptTuning
from mentorgrad.domain.spec import (
    Acceptance,
    DataFiles,
    MentorChoice,
    Optimizer,
    RunSpec,
    Stages,
    Task,
)
from tests.support import tiny_models
from tests.support.thread_group import together
from tests.support.trainer_process import children_of, command_line
from trainer_service.protocols import Objective
from trainer_service.running.execution import Parts

SPEC = RunSpec(
    objective=PromptTuning("tiny", n_tokens=2),
    task=Task(
        name="own",
        data=DataFiles("rows.jsonl", test="test.jsonl"),
        labels=("other", "worth"),
        description="what is said",
        shots=8,
        selection_rows=4,
    ),
    optimizer=Optimizer(learning_rate=0.1, batch_size=5),
    stages=Stages(count=2, steps=4, candidates=2),
    mentor=MentorChoice("perturb", proposals=2),
    acceptance=Acceptance(finalists=1, probe_steps=2),
    checkpoint_interval=timedelta(milliseconds=100),
    seed=5,
    devices=2,
)


def make_files(folder: Path) -> dict[str, tuple[str, ...]]:
    """Makes the model and the rows; returns where a worker may read them."""
    tiny_models.make(folder / "tiny")
    lines = [
        json.dumps({"text": text, "label": int("good" in text or "bad" in text)})
        for text in tiny_models.TEXTS
    ]
    (folder / "rows.jsonl").write_text("\n".join(lines[::2]))
    (folder / "test.jsonl").write_text("\n".join(lines[1::4]))
    return {"data_roots": (str(folder),), "model_roots": (str(folder),)}


def by_threads(how: Parts, opened: ExitStack) -> Parts:
    """Parts of a run with as many threads as it has devices, instead of processes."""
    build: Callable[[RunSpec, Callable[[], None]], Objective] = how.objective

    def objective(spec: RunSpec, check: Callable[[], None]) -> Objective:
        built = build(spec, check)
        opened.enter_context(together(*[built.problem] * spec.devices))
        return built

    return replace(how, objective=objective)


def members_of(worker: int) -> list[int]:
    """Process ids of the further processes that a worker has started."""
    return [pid for pid in children_of(worker) if b"process_group.member" in command_line(pid)]
