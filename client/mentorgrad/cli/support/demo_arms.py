"""The demo's arms: three runs that differ in who proposes restarts, and in nothing else."""

from __future__ import annotations

from mentorgrad.domain.spec import (
    Acceptance,
    Budget,
    LabelPrompt,
    MentorChoice,
    Optimizer,
    RunSpec,
    Stages,
    Task,
)

MENTOR = "smollm2"
"""Name under which the demo's trainer knows the demo's mentor."""

ARMS = {"mentor": MENTOR, "random_tokens": "random_tokens", "none": "none"}
"""Arm → who proposes its restarts."""

OBJECTIVE = LabelPrompt(initial_text="this customer writes to the support because of")
"""Plain words to start from, so that what a language model makes of them can be read."""

STAGES = Stages(count=4, steps=20, candidates=4)
ACCEPTANCE = Acceptance(finalists=2, probe_steps=20)
"""Fresh words need some twenty steps before they can be compared with trained vectors."""

PROPOSALS = 16

GRADIENT_STEPS = STAGES.count * STAGES.steps + (
    (STAGES.count - 1) * (ACCEPTANCE.finalists + 1) * ACCEPTANCE.probe_steps
)
"""80 steps in stages and 180 in races; the arm without restarts takes all 260 in stages."""

EVALUATIONS = 200
"""More than any arm needs, and the same for all."""


def arm_spec(arm: str, seed: int) -> RunSpec:
    """The spec of an arm."""
    return RunSpec(
        objective=OBJECTIVE,
        task=Task(name="tickets"),
        optimizer=Optimizer(),
        stages=STAGES,
        mentor=MentorChoice(name=ARMS[arm], strategy="maao", proposals=PROPOSALS),
        acceptance=ACCEPTANCE,
        budget=Budget(gradient_steps=GRADIENT_STEPS, evaluations=EVALUATIONS),
        seed=seed,
        name=f"demo/{arm}",
        labels={"experiment": "demo", "arm": arm},
    )
