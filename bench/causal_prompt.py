"""Speed of `causal_prompt`, relative to the same prompt as a prefix of PEFT in a plain loop.

SmolLM2-135M, 16 rows of 64 tokens of the built-in task, a prompt of 20 tokens. Ours: evaluations
and gradient steps with the prompt behind the text, whose keys and values are computed before. The
peer: the prompt in front of the text, the logits of the last position only, same rows, model, dtype
and threads. A ratio is the peer's time (or memory) divided by ours. Seconds are CPU seconds of one
thread; memory is the peak of the tensors that a step allocates and, for ours, what is kept of the
texts. With our prompt in front of the text too, losses and gradients have to equal the peer's.

    python -m bench.causal_prompt [--blocks 10] [--quick]
    python -m bench.causal_prompt --sweep         # cost per step by text length and the like
    python -m bench.causal_prompt --device cuda   # share of the device's matrix rate
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench import causal_costs, causal_device
from bench.causal_sides import Ours, Peer, language_model, prompts_for, rows_of
from bench.measures import cpu_seconds, peak_bytes
from bench.paired import Paired, abba, environment
from mentorgrad.domain.objective import PromptPosition
from trainer_service.encoding.causal_model import CausalModel
from trainer_service.tasks.data import Split

ROWS, LENGTH, PROMPT = 16, 64, 20
TOLERANCE = 1e-4
"""Of losses, in nats, and of gradients, as a share of their largest number."""

PLOT = Path(__file__).parent / "results" / "causal_prompt_costs.png"


def differences(before: Ours, peer: Peer) -> dict[str, float]:
    """How far losses and gradients are from the peer's, with the prompt at the same place.

    Raises:
        AssertionError: Further than the tolerance.
    """
    found = {"loss": abs(before.step() - peer.step())}
    most = float(peer.gradient.abs().max())
    found["gradient"] = float((before.gradient - peer.gradient).abs().max()) / most
    assert max(found.values()) < TOLERANCE, found
    return found


def compared(
    model: CausalModel, rows: int, length: int, n_tokens: int, blocks: int
) -> dict[str, Any]:
    """The ratios, with absolute figures."""
    task, prompts = rows_of(model, rows, length), prompts_for(model, n_tokens)
    ours = Ours(model, task, prompts)
    before = Ours(model, task, prompts, PromptPosition.BEFORE_TEXT)
    assert ours.problem.kept_rows[Split.TRAIN] == rows, "all keys and values are kept"

    def paired(theirs: Callable[[], float], own: Callable[[], float]) -> Paired:
        return abba(lambda: cpu_seconds(theirs), lambda: cpu_seconds(own), blocks)

    peer = Peer(model, task, before.inputs, prompts)
    apart = differences(before, peer)
    evaluation, step = paired(peer.evaluation, ours.evaluation), paired(peer.step, ours.step)
    memory = {"peer": peak_bytes(peer.step), "ours": peak_bytes(ours.step) + ours.kept_bytes}
    return {
        "eval_ratio": round(evaluation.ratio, 3),
        "step_ratio": round(step.ratio, 3),
        "memory_ratio": round(memory["peer"] / memory["ours"], 3),
        "eval_seconds": evaluation.rounded(),
        "step_seconds": step.rounded(),
        "megabytes": {side: round(size / 1e6) for side, size in memory.items()},
        "kept_megabytes": round(ours.kept_bytes / 1e6),
        "differences": {name: float(f"{value:.2g}") for name, value in apart.items()},
        "rows": rows,
        "text_tokens": length,
        "prompt_tokens": n_tokens,
        "dtype": model.dtype,
        "threads": torch.get_num_threads(),
        "environment": environment("torch", "transformers", "peft"),
    }


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="two blocks; a smaller sweep")
    parser.add_argument("--sweep", action="store_true", help="cost per step, and a plot")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if arguments.device != "cpu":
        print(json.dumps(causal_device.measured(torch.device(arguments.device))))
        return
    torch.set_num_threads(1)
    model = language_model(torch.device("cpu"))
    if arguments.sweep:
        result = causal_costs.table(model, arguments.quick)
        if not arguments.quick:
            causal_costs.plot(result["costs"], PLOT)
    else:
        blocks = 2 if arguments.quick else arguments.blocks
        result = compared(model, ROWS, LENGTH, PROMPT, blocks)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
