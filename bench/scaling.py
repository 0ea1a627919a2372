"""Cost of a step of `prompt_tuning` by number of labels, length of prompt and texts, and runs at a
time.

The embedded encoder, 32 rows; all but one quantity are as for sst2. Seconds of the CPU, one thread,
and for several runs at a time the seconds of the clock: each is a process of its own, as a worker
is. On a machine that others use, leave these out (`--runs` without numbers).

    python -m bench.scaling [--quick] [--dtype float32] [--runs 1 2 4]
                            [--plot bench/results/scaling.png]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench.measures import cpu_seconds
from bench.paired import environment
from bench.prompt_steps import Shape, step
from mentorgrad.domain.objective import DEFAULT_ENCODER
from mentorgrad.model_refs import resolve
from trainer_service.encoding.encoders import TextEncoder

BASE = Shape()
VARIED: dict[str, tuple[int, ...]] = {
    "labels": (2, 8, 32, 128),
    "prompt_tokens": (2, 8, 32, 128),
    "text_tokens": (12, 25, 50, 100),
    "rows": (8, 16, 32, 64),
}
RUNS = (1, 2, 4)
QUICK: dict[str, tuple[int, ...]] = {"labels": (2, 8), "text_tokens": (6,)}

TIMES = 5
"""Executions per figure, of which the median counts."""


def load(dtype: str, folder: Path | None = None) -> TextEncoder:
    """The encoder, in a process with one thread."""
    torch.set_num_threads(1)
    folder = folder or resolve(DEFAULT_ENCODER)
    return TextEncoder(folder, torch.device("cpu"), dtype=dtype)


def costs(encoder: TextEncoder, varied: dict[str, tuple[int, ...]]) -> list[dict[str, Any]]:
    """One row per case: what is varied, its value, and the CPU seconds of a step."""
    known: dict[Shape, float] = {}
    rows = []
    for name, values in varied.items():
        for value in values:
            shape = replace(BASE, **{name: value})
            if shape not in known:
                one = step(encoder, shape)
                one()
                known[shape] = statistics.median(cpu_seconds(one) for _ in range(TIMES))
            rows.append({"varied": name, "value": value, "seconds": round(known[shape], 4)})
    return rows


def _steps(dtype: str, begin: float, seconds: float) -> float:
    """Steps per second of one run that takes steps from the time `begin` on."""
    one = step(load(dtype), BASE)
    one()
    time.sleep(max(begin - time.time(), 0.0))
    began, taken = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        one()
        taken += 1
    return taken / (time.perf_counter() - began)


def together(dtype: str, runs: int, seconds: float = 10.0, start: float = 30.0) -> dict[str, Any]:
    """Seconds per step of each of several runs at a time, and of all together.

    Args:
        dtype: Of the encoder.
        runs: Their number.
        seconds: For which they take steps.
        start: Seconds that they have to load the model.
    """
    spawn, begin = multiprocessing.get_context("spawn"), time.time() + start
    with ProcessPoolExecutor(runs, spawn) as pool:
        rates = list(pool.map(_steps, [dtype] * runs, [begin] * runs, [seconds] * runs))
    return {
        "varied": "runs",
        "value": runs,
        "seconds": round(runs / sum(rates), 4),
        "seconds_of_all": round(1 / sum(rates), 4),
    }


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draws the seconds of a step, one panel per quantity that is varied.

    It needs the extra ``plot``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys(row["varied"] for row in rows))
    figure = Figure(figsize=(2.6 * len(panels), 2.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, varied in zip(axes, panels, strict=True):
        chosen = [row for row in rows if row["varied"] == varied]
        values = [row["value"] for row in chosen]
        axis.plot(values, [row["seconds"] for row in chosen], marker="o", label="each step")
        if varied == "runs":
            of_all = [row["seconds_of_all"] for row in chosen]
            axis.plot(values, of_all, marker="o", label="all runs together")
            axis.legend()
        axis.set_xscale("log", base=2)
        axis.set_xticks(values, [str(value) for value in values])
        axis.minorticks_off()
        axis.set_xlabel({"runs": "runs at a time"}.get(varied, varied.replace("_", " ")))
        axis.grid(alpha=0.3)
    axes[0].set_ylim(bottom=0)  # of all, when all are drawn
    axes[0].set_ylabel("seconds per step, one thread")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--runs", type=int, nargs="*", default=RUNS, help="numbers of runs")
    parser.add_argument("--plot", type=Path, help="a file for a picture")
    parser.add_argument("--quick", action="store_true", help="three cases, one run at a time")
    given = parser.parse_args()
    rows = costs(load(given.dtype), QUICK if given.quick else VARIED)
    if not given.quick:
        rows += [together(given.dtype, runs) for runs in given.runs]
    if given.plot:
        plot(rows, given.plot)
    print(
        json.dumps(
            {
                "costs": rows,
                "dtype": given.dtype,
                "base": vars(BASE),
                "load": [round(each, 1) for each in os.getloadavg()],
                "environment": environment("torch", "transformers"),
            }
        )
    )


if __name__ == "__main__":
    main()
