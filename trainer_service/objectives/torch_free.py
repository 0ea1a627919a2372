"""Constants and checks of the objectives for modules that must not import torch."""

from __future__ import annotations

import importlib.util

from mentorgrad.domain.spec import PromptTuning
from mentorgrad.errors import InvalidInput, Unsupported

ARTIFACT = "prompt.safetensors"
"""The file that every finished run leaves."""

FUNCTION_BOUNDS: dict[str, tuple[float, float]] = {
    "rastrigin": (-5.12, 5.12),
    "ackley": (-32.768, 32.768),
    "rosenbrock": (-5.0, 10.0),
    "levy": (-10.0, 10.0),
}
"""Function → least and greatest value of every variable, as in Surjanovic and Bingham, "Virtual
Library of Simulation Experiments: Test Functions and Datasets"."""

LEAST_DIMENSIONS: dict[str, int] = {"rosenbrock": 2}
"""Functions that need more than one variable."""

LEAST_TEXT_TOKENS = 3
"""What a soft prompt must leave to a text: its marks and one token."""


def prompt_tuning_length(objective: PromptTuning, encoder_limit: int) -> int:
    """Where inputs are cut, prompt and marks included."""
    return min(objective.max_length, encoder_limit)


def require_peft() -> None:
    """Checks that a tuned prompt can be exported, before any time is spent on tuning it.

    Raises:
        Unsupported: It cannot: peft is not installed.
    """
    if importlib.util.find_spec("peft") is None:
        raise Unsupported(
            "prompt_tuning needs peft; run: pip install 'mentorgrad[trainer,peft]'",
            reason="MISSING_EXTRA",
        )


def not_executed() -> InvalidInput:
    """The error for the objective ``external``, which only the user's own program executes."""
    return InvalidInput.field(
        "spec.objective.external",
        "is executed by its own program; import what that recorded, or choose another objective",
        reason="EXECUTED_ELSEWHERE",
    )
