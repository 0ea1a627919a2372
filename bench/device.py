"""Speedup by an NVIDIA GPU: work per second, relative to all CPU cores of the same machine.

With `label_prompt`, the embedded encoder and the built-in task: gradient steps of one soft prompt,
of the five of a race, and candidates scored. With `prompt_tuning`, which encodes whole texts:
gradient steps. The peer is the same code on the CPU.

    python -m bench.device [--blocks 5] [--device cuda:0]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import torch

from bench.paired import Paired, abba, environment
from mentorgrad.domain.objective import LabelPrompt, PromptTuning
from mentorgrad.domain.spec import Task
from mentorgrad.model_refs import resolve
from trainer_service.costs import RowCosts
from trainer_service.encoding.embedding_cache import EmbeddingCache
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.objectives.label_prompt.problem import LabelPromptProblem
from trainer_service.objectives.problem import Problem
from trainer_service.objectives.prompt_tuning.problem import PromptTuningProblem
from trainer_service.tasks.data import Split
from trainer_service.tasks.load import load_task

BATCH = 32
SECONDS = 1.0
"""Minimum duration of one measurement, seconds."""


def steps(problem: Problem, branches: int) -> Callable[[], float]:
    """Returns a measurement of gradient steps per second, for `branches` prompts as a batch."""
    made = torch.Generator().manual_seed(0)
    many = torch.randn(branches, *problem.shape, generator=made).to(problem.device)
    rows = torch.randint(problem.size(Split.TRAIN), (BATCH,), generator=made)
    return lambda: per_second(lambda: float(problem.gradients(many, rows)[0].sum()))


def scores(problem: Problem, candidates: int) -> Callable[[], float]:
    """Returns a measurement of candidates scored per second, in batches of `candidates`."""
    made = torch.Generator().manual_seed(0)
    many = torch.randn(candidates, *problem.shape, generator=made).to(problem.device)
    return lambda: candidates * per_second(lambda: problem.score(many))


def per_second(work: Callable[[], object]) -> float:
    """Executions per second. `work` returns a host value, so all GPU work has finished."""
    work()
    began, count = time.perf_counter(), 0
    while (taken := time.perf_counter() - began) < SECONDS:
        work()
        count += 1
    return count / taken


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--device", default="cuda:0")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("torch finds no NVIDIA GPU")
    task, spec = load_task(Task(name="tickets"), 0, ()), LabelPrompt()
    found: dict[str, list[Callable[[], float]]] = {}
    for name in (arguments.device, "cpu"):
        encoder = TextEncoder(resolve(spec.encoder), torch.device(name))
        prompt = LabelPromptProblem(spec, task, encoder, RowCosts(), EmbeddingCache(None))
        texts = PromptTuningProblem(PromptTuning(), task, encoder, RowCosts(), EmbeddingCache(None))
        for work, measure in {
            "step": steps(prompt, 1),
            "race_of_5": steps(prompt, 5),
            "scores_64": scores(prompt, 64),
            "step_of_texts": steps(texts, 1),
        }.items():
            found.setdefault(work, []).append(measure)
    results: dict[str, Paired] = {
        work: abba(there, here, arguments.blocks) for work, (there, here) in found.items()
    }
    print(
        json.dumps(
            {
                **{f"ratio_{work}": round(result.ratio, 3) for work, result in results.items()},
                **{work: result.rounded() for work, result in results.items()},
                "device": torch.cuda.get_device_name(arguments.device),
                "threads": torch.get_num_threads(),
                "environment": environment("torch", "transformers"),
            }
        )
    )


if __name__ == "__main__":
    main()
