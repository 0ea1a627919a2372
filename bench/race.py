"""Speedup by batching the branches of a race: steps per second, relative to one at a time.

`label_prompt` with the embedded encoder and the first 2, 4 and 6 classes of the built-in task, and
the default number of branches. The peer computes the same gradients branch by branch. One thread,
as a worker has when two workers share two cores.

    python -m bench.race [--blocks 5] [--branches 5] [--device cpu]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from bench.paired import abba, environment
from mentorgrad.domain.objective import LabelPrompt
from mentorgrad.domain.spec import Task
from mentorgrad.model_refs import resolve
from trainer_service.costs import RowCosts
from trainer_service.encoding.embedding_cache import EmbeddingCache
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.objectives.label_prompt.problem import LabelPromptProblem
from trainer_service.objectives.problem import Problem
from trainer_service.tasks.data import Row, Split, TaskData
from trainer_service.tasks.load import load_task

CLASSES = (2, 4, 6)
STEPS = 8
BATCH = 32


def first(task: TaskData, classes: int) -> TaskData:
    """Returns the task with its first labels only."""

    def kept(rows: Sequence[Row]) -> tuple[Row, ...]:
        return tuple(row for row in rows if row.label < classes)

    return replace(
        task,
        labels=task.labels[:classes],
        train=kept(task.train),
        selection=kept(task.selection),
        test=kept(task.test),
    )


def paired(problem: Problem, branches: int, blocks: int) -> dict[str, Any]:
    """Steps of all branches per second: as a batch (A), and one at a time (B)."""
    generator = torch.Generator().manual_seed(0)
    many = torch.randn(branches, *problem.shape, generator=generator).to(problem.device)
    train = problem.size(Split.TRAIN)
    rows = torch.randint(train, (BATCH,), generator=generator)

    def timed(parts: list[torch.Tensor]) -> float:
        began = time.perf_counter()
        for _ in range(STEPS):
            for part in parts:
                float(problem.gradients(part, rows)[0].sum())
        return STEPS / (time.perf_counter() - began)

    result = abba(lambda: timed([many]), lambda: timed([*torch.split(many, 1)]), blocks)
    return result.rounded()


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--branches", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    spec = LabelPrompt()
    encoder = TextEncoder(resolve(spec.encoder), torch.device(arguments.device))
    task = load_task(Task(name="tickets"), 0, ())
    found = {}
    for classes in CLASSES:
        rows, cache = first(task, classes), EmbeddingCache(None)
        built = LabelPromptProblem(spec, rows, encoder, RowCosts(), cache)
        found[f"classes_{classes}"] = paired(built, arguments.branches, arguments.blocks)
    print(
        json.dumps(
            {
                **{f"ratio_{classes}": found[f"classes_{classes}"]["ratio"] for classes in CLASSES},
                **found,
                "branches": arguments.branches,
                "device": arguments.device,
                "environment": environment("torch", "transformers"),
            }
        )
    )


if __name__ == "__main__":
    main()
