"""The arms, the budgets, and the spec of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from mentorgrad.cli.support.processor import fast_dtype
from mentorgrad.domain.objective import Calibration, CausalPrompt, ServedPrompt
from mentorgrad.domain.spec import (
    Acceptance,
    Budget,
    Capture,
    CaptureContent,
    MentorChoice,
    Optimizer,
    Policy,
    RunSpec,
    Stages,
    Task,
)

TEXTS = 8
"""Texts that an arm scores per round."""

SELECTION_ROWS = 16
"""Selection rows per class at most."""

N_TOKENS = 16
BATCH = 16
"""Length of the prompt in tokens, and train rows per gradient step."""

DTYPE = fast_dtype()
"""Number format of the tuned model; records say it, but for the first ones, of bfloat16."""

RATES = {"adamw": 0.8, "zo_adam": 0.05}
"""Learning rates, chosen by the selection loss of the arm `none` on seeds that are not compared."""

_FORWARD_BATCH = 4
_FORWARD_PASSES = 2
"""Train rows per forward-only step, and its passes over them."""

_SCORED = 2
"""Snapshots scored per stage."""

_PATIENCE = timedelta(minutes=20)
"""Maximum time to wait for an answer; a mentor on a busy machine is slow, not worse."""


@dataclass(frozen=True)
class Model:
    """A language model by its size class."""

    name: str
    """Size class, such as ``0.5B``."""
    reference: str
    """Model reference; a file outside packages is named by its path."""

    @property
    def root(self) -> Path | None:
        """Folder that a service must allow; None for an installed package."""
        return None if ":" in self.reference else Path(self.reference).parent


@dataclass(frozen=True)
class Allowance:
    """What a run may spend: ``0``, ``0x3``, ``20`` or ``f400``."""

    rounds: int
    """Rounds of texts before the first step."""
    steps: int
    """Steps behind the rounds."""
    forward_only: bool

    @classmethod
    def parse(cls, text: str) -> Allowance:
        """Reads ``STEPS``, ``0xROUNDS`` or ``fPASSES``.

        Raises:
            ValueError: The text is none of these.
        """
        if text.startswith("0x"):
            return cls(int(text[2:]), 0, False)
        if text.startswith("f"):
            return cls(1, int(text[1:]) // _FORWARD_PASSES, True)
        return cls(1, int(text), False)


@dataclass(frozen=True)
class Cell:
    """One run."""

    objective: str
    """``causal_prompt`` or ``served_prompt``."""
    tuned: str
    """Size class of the tuned model."""
    task: str
    shots: int
    """Train rows per class."""
    budget: str
    """See `Allowance`."""
    seed: int
    arm: str
    """Name of a control, or of a mentor with an optional variant behind a slash."""
    mentor: str = ""
    """Size class of the mentor; empty for controls."""


CONTROLS = ("none", "random_tokens", "description")
"""Arms without an LLM. `none` is the best of as many random starts, and of the default one."""

_VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "": {},
    "opro": {"strategy": "opro"},
    "reflect": {"strategy": "reflect", "exemplars": 8},
    "evoprompt": {"strategy": "evoprompt"},
    "examples": {"strategy": "examples"},
    "shuffled": {"shuffled": True},
    "hide_card": {"hide_card": True},
    "described": {"description_first": True},
}
"""Ways to ask a mentor: the arm's name behind the slash, and what of `MentorChoice` differs."""


def variants() -> tuple[str, ...]:
    """Names that may stand behind the slash of a mentor's arm."""
    return tuple(filter(None, _VARIANTS))


def spec(cell: Cell, tuned: Model, task: Task, classes: int, calibration: Calibration) -> RunSpec:
    """The spec of a cell's run.

    Args:
        cell: The cell.
        tuned: Its tuned model.
        task: The task's data, without a number of rows.
        classes: Number of labels.
        calibration: How all arms' scores are calibrated.
    """
    allowance = Allowance.parse(cell.budget)
    steps, stages = allowance.steps, _stages(allowance)
    mentor = _choice(cell)
    if cell.arm == "none/rows":
        # Spends on steps what the others spend on scoring texts.
        scored = TEXTS * classes * (cell.shots + SELECTION_ROWS)
        steps += scored // (3 * BATCH)
        mentor, stages = MentorChoice(), Stages(count=1, steps=steps, candidates=2 * _SCORED)
    return RunSpec(
        objective=_objective(cell, tuned, calibration),
        task=replace(task, shots=cell.shots, selection_rows=SELECTION_ROWS),
        optimizer=_optimizer(allowance),
        stages=stages,
        mentor=mentor,
        acceptance=Acceptance(policy=Policy.BEST_OF),
        capture=Capture(content=CaptureContent.OFF),
        budget=Budget(gradient_steps=steps),
        seed=cell.seed,
        labels={"bench": "mentor_value", "arm": cell.arm, "budget": cell.budget},
    )


def _stages(allowance: Allowance) -> Stages:
    count = allowance.rounds + 1
    return Stages(count=count, first_steps=0, steps=allowance.steps, candidates=_SCORED)


def _objective(cell: Cell, tuned: Model, calibration: Calibration) -> CausalPrompt | ServedPrompt:
    if cell.objective == "served_prompt":
        return ServedPrompt(model=tuned.reference, calibration=calibration)
    # The start is scored, too: every arm may fall back on no words of its own.
    return CausalPrompt(
        model=tuned.reference, n_tokens=N_TOKENS, dtype=DTYPE, calibration=calibration
    )


def _optimizer(allowance: Allowance) -> Optimizer:
    if not allowance.forward_only:
        return Optimizer("adamw", learning_rate=RATES["adamw"], batch_size=BATCH)
    return Optimizer("zo_adam", learning_rate=RATES["zo_adam"], batch_size=_FORWARD_BATCH)


def _choice(cell: Cell) -> MentorChoice:
    if cell.arm == "none":
        return MentorChoice("random_init", proposals=TEXTS)
    if cell.arm in CONTROLS or cell.arm == "none/rows":
        return MentorChoice(cell.arm.partition("/")[0], proposals=TEXTS)
    variant = _VARIANTS[cell.arm.partition("/")[2]]
    return MentorChoice(
        service_name(cell.mentor), proposals=TEXTS, required=True, timeout=_PATIENCE, **variant
    )


def service_name(size: str) -> str:
    """Name of the mentor of a size class in a spec."""
    return "mentor_" + size.lower().replace(".", "_")
