"""Learning rate schedules over gradient steps. Imports no torch."""

from __future__ import annotations

import math

from mentorgrad.domain.spec import Optimizer, Schedule


def learning_rate(spec: Optimizer, step: int, total_steps: int) -> float:
    """The learning rate of one step.

    Warm-up rises linearly to the peak at step `warmup_steps`. The schedule then decays over the
    remaining steps and would reach 0 one step after `total_steps`, so no step has rate 0. Steps
    beyond `total_steps` use the rate of the last step.

    Args:
        spec: Peak, schedule and warm-up.
        step: Number of the step to take, from 1.
        total_steps: Planned gradient steps of the run.
    """
    if step <= spec.warmup_steps:
        return spec.learning_rate * max(step, 0) / spec.warmup_steps
    if spec.schedule is Schedule.CONSTANT:
        return spec.learning_rate
    span = max(total_steps - spec.warmup_steps, 1)
    progress = min(step - spec.warmup_steps - 1, span - 1) / span
    if spec.schedule is Schedule.LINEAR:
        return spec.learning_rate * (1.0 - max(progress, 0.0))
    return spec.learning_rate * 0.5 * (1.0 + math.cos(math.pi * max(progress, 0.0)))
