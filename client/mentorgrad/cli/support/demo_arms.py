"""The demo's runs: two regimes, each with arms that differ only in the source of proposals."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mentorgrad.cli.support.processor import fast_dtype
from mentorgrad.domain.objective import CausalPrompt, LabelPrompt
from mentorgrad.domain.spec import (
    Acceptance,
    Budget,
    Capture,
    CaptureContent,
    MentorChoice,
    Policy,
    RunSpec,
    Stages,
    Task,
)

MENTOR = "smollm2"
"""Name of the demo's mentor in the demo's trainer."""

ARMS = ("mentor", "random_tokens", "description", "none")
"""Sources of proposals: an LLM, random words, the task's description, and no words."""

OBJECTIVE = LabelPrompt(initial_text="this customer writes to the support because of")
"""A readable initial prompt, so that the LLM's proposals can be compared with it."""


@dataclass(frozen=True)
class Regime:
    """What is tuned, and how, in all arms alike."""

    name: str
    """A word."""
    says: str
    """What it is, and what a mentor is known to be worth in it; one line."""
    spec: RunSpec
    """The spec of its arms, but for the name of the mentor."""
    none: str
    """What the arm `none` spends the budget on: the control of this name."""

    def arm_spec(self, arm: str, seed: int) -> RunSpec:
        """The spec of an arm."""
        sources = {"mentor": MENTOR, "none": self.none}
        return replace(
            self.spec,
            mentor=replace(self.spec.mentor, name=sources.get(arm, arm)),
            seed=seed,
            name=f"demo/{self.name}/{arm}",
            labels={"experiment": "demo", "regime": self.name, "arm": arm},
        )


def regimes() -> tuple[Regime, ...]:
    """One regime in which a mentor's words help, and one in which they do not."""
    return (
        Regime(
            "words",
            "a language model of 135M weights answers; each arm scores its first prompt and 8 "
            "others, and no gradient step is taken. In 80 runs, a mentor's words were worth more "
            "than random ones here",
            RunSpec(
                objective=CausalPrompt(n_tokens=12, dtype=fast_dtype()),
                task=Task("tickets", shots=4, selection_rows=4),
                stages=Stages(count=2, steps=0, first_steps=0),
                mentor=MentorChoice(proposals=8),
                acceptance=Acceptance(policy=Policy.BEST_OF),
                capture=Capture(content=CaptureContent.OFF),
                budget=Budget(gradient_steps=0),
            ),
            # As many random vectors as the other arms have texts.
            none="random_init",
        ),
        Regime(
            "gradients",
            "a sentence encoder; each arm spends its forward rows on gradient steps and on "
            "proposals. In 872 runs, a mentor's words were worth no more than random ones here",
            RunSpec(
                objective=OBJECTIVE,
                task=Task("tickets"),
                stages=Stages(count=2, steps=20, candidates=4),
                mentor=MentorChoice(proposals=8),
                # New words need about 20 steps before they can be compared with trained vectors.
                acceptance=Acceptance(finalists=1, probe_steps=20),
                # Some 80 steps, 40 of them in the race, and the scores.
                budget=Budget(forward_rows=1_900),
            ),
            none="none",
        ),
    )
