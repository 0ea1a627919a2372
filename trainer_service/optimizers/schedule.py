"""The course of the learning rate, sized in gradient steps. Imports no torch."""

from __future__ import annotations

import math

from mentorgrad.domain.spec import Optimizer, Schedule


def learning_rate(spec: Optimizer, step: int, total_steps: int) -> float:
    """The learning rate of one step.

    Warm-up rises in equal parts to the peak, which step `warmup_steps` has; from there on the
    schedule falls over what remains of `total_steps` and would be 0 one step after the last, so no
    step is wasted. Steps beyond `total_steps` keep the last one's rate.

    Args:
        spec: Peak, schedule and warm-up.
        step: The step about to be taken, from 1.
        total_steps: Gradient steps that the run is planned for.
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
