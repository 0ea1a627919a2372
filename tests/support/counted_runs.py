"""Runs of an experiment with given figures, without having run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np

from mentorgrad.domain.experiment import Arm, ExperimentSpec, Variation
from mentorgrad.domain.run import Candidate, Run, RunResult, RunState, Score, Usage
from mentorgrad.domain.spec import Budget, MentorChoice, RunSpec, Task

ARMS = (
    Arm("mentor", MentorChoice(name="small")),
    Arm("none"),
    Arm("random_tokens", MentorChoice(name="random_tokens")),
    Arm("perturb", MentorChoice(name="perturb")),
    Arm("shuffled", MentorChoice(name="small", shuffled=True)),
)
"""An LLM, plain training, two controls, and the LLM with shuffled scores."""


def experiment(
    arms: Sequence[Arm] = ARMS,
    tasks: Sequence[str] = ("tickets", "moods"),
    variations: Sequence[str] = ("few", "many"),
    seeds: int = 10,
    base: RunSpec | None = None,
) -> ExperimentSpec:
    """The spec of an experiment."""
    return ExperimentSpec(
        name="Does it help?",
        description="A small mentor against the controls",
        base=base or RunSpec(budget=Budget(gradient_steps=260, evaluations=200)),
        tasks=tuple(Task(name=name) for name in tasks),
        variations=tuple(Variation(name=name) for name in variations),
        arms=tuple(arms),
        seeds=tuple(range(seeds)),
    )


def result(
    loss: float | None,
    *,
    accuracy: float | None = 0.6,
    majority: float | None = 0.25,
    restarts: int = 2,
    usage: Usage | None = None,
) -> RunResult:
    """What a run gave; no test where there is no loss."""
    return RunResult(
        returned=Candidate(score=Score(loss=0.5 if loss is None else loss - 0.1, accuracy=0.7)),
        test=None if loss is None else Score(loss=loss, accuracy=accuracy, rows=100),
        zero_shot=None if accuracy is None else Score(loss=1.0, accuracy=0.3),
        majority_accuracy=majority,
        restarts_applied=restarts,
        usage=usage or Usage(gradient_steps=260, train_time=timedelta(seconds=20)),
    )


def counted(
    arm: str,
    seed: int,
    gave: RunResult | None,
    *,
    task: str = "tickets",
    variation: str = "few",
    state: RunState | None = None,
) -> Run:
    """A run at its place."""
    name = f"{arm}-{task}-{variation}-{seed}"
    labels = {"arm": arm, "task": task, "variation": variation}
    return Run(
        run_id=name,
        spec=RunSpec(seed=seed, labels=labels),
        state=state or (RunState.FAILED if gave is None else RunState.SUCCEEDED),
        versions={"torch": "2.8.0"},
        result=gave,
    )


def all_runs(
    spec: ExperimentSpec, effects: Mapping[str, float], *, noise: float = 0.02, seed: int = 0
) -> list[Run]:
    """Every run of an experiment. A task's difficulty and a seed's luck, which all arms share, are
    far larger than the arms' effects.

    Args:
        spec: The experiment.
        effects: Arm → what it adds to the test loss.
        noise: Standard deviation of what is each run's own.
        seed: Of all that is drawn.
    """
    random = np.random.default_rng(seed)
    made = []
    for number, task in enumerate(spec.tasks):
        for variation in spec.variations:
            for luck in spec.seeds:
                shared = 1.0 + 5.0 * number + random.normal()
                for arm in spec.arms:
                    loss = shared + effects.get(arm.name, 0.0) + noise * random.normal()
                    restarts = 0 if arm.mentor.name == "none" else 2
                    made.append(
                        counted(
                            arm.name,
                            luck,
                            result(loss, restarts=restarts),
                            task=task.name,
                            variation=variation.name,
                        )
                    )
    return made
