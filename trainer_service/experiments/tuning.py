"""Chooses each arm's learning rate from the tuning runs. Pure functions."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

from mentorgrad.domain.experiment import ExperimentSpec
from mentorgrad.domain.run import Run
from mentorgrad.means import mean


def choose_rates(spec: ExperimentSpec, tuned: Iterable[Run]) -> dict[str, float]:
    """Chooses each arm's learning rate by the mean selection loss of the returned snapshots.

    A rate is excluded if one of its runs failed or diverged. On ties the rate listed first wins.

    Args:
        spec: The experiment.
        tuned: All its tuning runs, ended.

    Returns:
        Learning rate by arm, without arms whose rates are all excluded.
    """
    losses: dict[tuple[str, float], list[float]] = defaultdict(list)
    for run in tuned:
        key = (run.spec.labels.get("arm", ""), run.spec.optimizer.learning_rate)
        losses[key].append(math.inf if run.result is None else run.result.returned.score.loss)
    chosen = {}
    for arm in spec.arms:
        means = {rate: _mean(losses[arm.name, rate]) for rate in spec.tuning.learning_rates}
        best = min(means, key=lambda rate: means[rate])
        if math.isfinite(means[best]):
            chosen[arm.name] = best
    return chosen


def given_rates(spec: ExperimentSpec) -> dict[str, float]:
    """Learning rates that the arms' changes set, by arm; used without tuning."""
    named = {arm.name: arm.changes.get("optimizer") for arm in spec.arms}
    return {
        name: float(optimizer["learning_rate"])
        for name, optimizer in named.items()
        if isinstance(optimizer, dict) and "learning_rate" in optimizer
    }


def _mean(losses: list[float]) -> float:
    """The mean; infinity without losses or if one is not finite."""
    if not losses or not all(map(math.isfinite, losses)):
        return math.inf
    return mean(losses)
