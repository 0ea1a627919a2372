"""Constants and checks of the objectives for code that must not import torch."""

from __future__ import annotations

import importlib.util

from mentorgrad.domain.spec import PromptTuning
from mentorgrad.errors import Unsupported

ARTIFACT = "prompt.safetensors"
"""Artifact file of every finished run."""

FUNCTION_BOUNDS: dict[str, tuple[float, float]] = {
    "rastrigin": (-5.12, 5.12),
    "ackley": (-32.768, 32.768),
    "rosenbrock": (-5.0, 10.0),
    "levy": (-10.0, 10.0),
}
"""Lower and upper bound of every variable by function name, as in Surjanovic and Bingham, "Virtual
Library of Simulation Experiments: Test Functions and Datasets"."""

LEAST_DIMENSIONS: dict[str, int] = {"rosenbrock": 2}
"""Minimum number of variables, for functions that need more than one."""

LEAST_TEXT_TOKENS = 3
"""Minimum tokens that the soft prompt must leave for a text: start, end and one token."""


def prompt_tuning_length(objective: PromptTuning, encoder_limit: int) -> int:
    """Maximum input length in tokens, prompt and special tokens included."""
    return min(objective.max_length, encoder_limit)


def require_peft() -> None:
    """Checks, before a run starts, that a tuned prompt can be exported.

    Raises:
        Unsupported: peft is not installed.
    """
    if importlib.util.find_spec("peft") is None:
        raise Unsupported(
            "prompt_tuning needs peft; run: pip install 'mentorgrad[trainer,peft]'",
            reason="MISSING_EXTRA",
        )
