"""The built-in task, with the real encoder on all of its rows."""

from __future__ import annotations

import pytest
import torch

from mentorgrad.domain.spec import Optimizer, Task
from tests.support.numerics import label_prompt_on, tune
from trainer_service.baselines.compute import baselines
from trainer_service.tasks.data import majority_share
from trainer_service.tasks.load import load_task


@pytest.mark.campaign
@pytest.mark.usefixtures("without_probe")
def test_the_demo_task_is_neither_trivial_nor_untrainable() -> None:
    """Zero-shot leaves room, and plain tuning takes at least five points of it."""
    built = label_prompt_on(load_task(Task(), 0, ()))
    zero_shot = {item.name: item for item in baselines(built.problem, lambda: None)}[
        "zero_shot"
    ].test
    assert zero_shot is not None
    assert zero_shot.accuracy is not None
    assert built.problem.task is not None
    assert majority_share(built.problem.task.test) == pytest.approx(1 / 6)
    assert 0.5 < zero_shot.accuracy <= 0.85
    trajectory = torch.stack(tune(built, Optimizer(), 40, seed=0)[::10])
    scores = built.problem.score(trajectory)
    best = min(range(len(scores)), key=lambda index: scores[index].loss)
    reached = built.problem.test(trajectory[best])
    assert reached is not None
    assert reached.accuracy is not None
    assert reached.accuracy >= zero_shot.accuracy + 0.05
    assert reached.loss < zero_shot.loss
