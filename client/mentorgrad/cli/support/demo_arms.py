"""The demo's arms: three runs that differ only in the source of restart proposals."""

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
"""Name of the demo's mentor in the demo's trainer."""

ARMS = {"mentor": MENTOR, "random_tokens": "random_tokens", "none": "none"}
"""Maps each arm to its source of proposals."""

OBJECTIVE = LabelPrompt(initial_text="this customer writes to the support because of")
"""A readable initial prompt, so that the LLM's proposals can be compared with it."""

STAGES = Stages(count=4, steps=20, candidates=4)
ACCEPTANCE = Acceptance(finalists=2, probe_steps=20)
"""New words need about 20 steps before they can be compared with trained vectors."""

PROPOSALS = 16

GRADIENT_STEPS = STAGES.count * STAGES.steps + (
    (STAGES.count - 1) * (ACCEPTANCE.finalists + 1) * ACCEPTANCE.probe_steps
)
"""80 steps in stages and 180 in races; the arm without restarts takes all 260 in stages."""

EVALUATIONS = 200
"""The same limit for all arms, higher than any of them needs."""


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
