"""Which learning rate each arm goes on with. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

from mentorgrad.domain.experiment import ExperimentSpec
from mentorgrad.domain.run import Run


def choose_rates(spec: ExperimentSpec, tuned: Iterable[Run]) -> dict[str, float]:
    """Arm → the learning rate of lowest mean selection loss of the returned snapshot.

    A rate of which a run failed or diverged loses; of two equal ones the first that was listed
    wins. An arm without any rate left is not there.

    Args:
        spec: The experiment.
        tuned: Its tuning runs, all of which have ended.
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
    """Arm → the learning rate that its changes name, where nothing is tuned."""
    named = {arm.name: arm.changes.get("optimizer") for arm in spec.arms}
    return {
        name: float(optimizer["learning_rate"])
        for name, optimizer in named.items()
        if isinstance(optimizer, dict) and "learning_rate" in optimizer
    }


def _mean(losses: list[float]) -> float:
    """The mean; infinite for none, or where one is no finite number."""
    if not losses or not all(map(math.isfinite, losses)):
        return math.inf
    return math.fsum(losses) / len(losses)
