"""Cost per step of `causal_prompt` by length of texts and prompt, number of rows and labels."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import torch

from bench.causal_sides import Ours, prompts_for, rows_of
from bench.measures import cpu_seconds, peak_bytes
from bench.paired import environment
from trainer_service.encoding.causal_model import CausalModel

BASE = {"text_tokens": 64, "prompt_tokens": 20, "rows": 16, "labels": 6, "label_tokens": 1}
"""All but one are as here."""

VARIED: list[tuple[str, dict[str, int], tuple[int, ...]]] = [
    ("text_tokens", {}, (16, 64, 256, 1024)),
    ("prompt_tokens", {}, (5, 20, 80)),
    ("rows", {}, (4, 16, 64)),
    ("labels", {}, (2, 6, 24)),
    ("labels", {"label_tokens": 2}, (2, 6, 24)),
]
QUICK: list[tuple[str, dict[str, int], tuple[int, ...]]] = [
    ("text_tokens", {}, (16, 64)),
    ("labels", {"label_tokens": 2}, (2,)),
]

TIMES = 3
"""Executions per figure, of which the median counts."""


def words(model: CausalModel, labels: int, tokens: int) -> list[str]:
    """Label words of so many tokens each, of which none begins another."""
    spaced = (name[1:] for name in model.tokens.vocabulary() if name.startswith("Ġ"))
    single = sorted(word for word in spaced if word.isascii() and word.islower() and len(word) > 3)
    chosen = single[: labels + tokens]
    return [" ".join(chosen[index : index + tokens]) for index in range(labels)]


def cost(model: CausalModel, case: dict[str, int]) -> dict[str, Any]:
    """Cost of a step, of an evaluation, and of what is done once per run."""
    labels = words(model, case["labels"], case["label_tokens"])
    task = rows_of(model, case["rows"], case["text_tokens"], labels)
    prompts = prompts_for(model, case["prompt_tokens"])
    began = time.process_time()
    ours = Ours(model, task, prompts)
    once = time.process_time() - began
    ours.step()
    return case | {
        "once_seconds": round(once, 3),
        "step_seconds": round(statistics.median(cpu_seconds(ours.step) for _ in range(TIMES)), 3),
        "eval_seconds": round(
            statistics.median(cpu_seconds(ours.evaluation) for _ in range(TIMES)), 3
        ),
        "step_megabytes": round(peak_bytes(ours.step) / 1e6),
        "kept_megabytes": round(ours.kept_bytes / 1e6),
    }


def table(model: CausalModel, quick: bool) -> dict[str, Any]:
    """One row per case, divided by what is varied."""
    found: list[dict[str, Any]] = []
    for name, others, values in QUICK if quick else VARIED:
        varied = name if not others else f"{name} of {others['label_tokens']} tokens"
        for value in values:
            case = BASE | others | {name: value}
            known = [row for row in found if {key: row[key] for key in BASE} == case]
            made = known[0] if known else cost(model, case)
            found.append(made | {"varied": varied, "value": value})
    return {
        "costs": found,
        "dtype": model.dtype,
        "threads": torch.get_num_threads(),
        "environment": environment("torch", "transformers"),
    }


def plot(costs: list[dict[str, Any]], path: Path) -> None:
    """Draws the seconds of a step and of an evaluation, one panel per quantity that is varied.

    It needs the extra ``plot``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys(row["varied"] for row in costs))
    figure = Figure(figsize=(2.6 * len(panels), 2.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, varied in zip(axes, panels, strict=True):
        rows = [row for row in costs if row["varied"] == varied]
        values = [row["value"] for row in rows]
        for name, label in (("step_seconds", "step"), ("eval_seconds", "evaluation")):
            axis.plot(values, [row[name] for row in rows], marker="o", label=label)
        axis.set_xscale("log", base=2)
        axis.set_xticks(values, [str(value) for value in values])
        axis.minorticks_off()
        axis.set_xlabel(varied.replace("_", " "))
        axis.grid(alpha=0.3)
    axes[0].set_ylim(bottom=0)  # of all, when all are drawn
    axes[0].set_ylabel("CPU seconds, one thread")
    axes[0].legend()
    figure.savefig(path, dpi=120)
