"""A whole objective in a few lines, as somebody would add it: the bottom of a bowl, in numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from mentorgrad.domain.advice import TaskCard
from mentorgrad.domain.objective import External
from trainer_service import tensorfile
from trainer_service.costs import RowCosts
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.kinds import ObjectiveKind
from trainer_service.objectives.number_language import NumberLanguage
from trainer_service.objectives.problem import Problem
from trainer_service.objectives.results import RowResults
from trainer_service.protocols import Objective
from trainer_service.tasks.data import Split, TaskData


class Bowl(Problem):
    """The squared distance from (1, 2)."""

    shape = (2,)

    def __init__(self, inputs: BuildInputs) -> None:
        self.device, self.costs = inputs.device, inputs.costs
        self._bottom = torch.tensor([1.0, 2.0], device=self.device)

    def losses(self, points: Tensor, rows: Tensor) -> Tensor:
        return (points - self._bottom).square().sum(-1)

    @torch.no_grad()
    def results(self, points: Tensor, split: Split, rows: Tensor | None = None) -> RowResults:
        return RowResults((points - self._bottom).square().sum(-1, keepdim=True))


def build(spec: External, inputs: BuildInputs) -> Objective:
    def export(point: Tensor) -> dict[str, bytes]:
        return {"prompt.safetensors": tensorfile.save({"point": point}, {"objective": "external"})}

    language = NumberLanguage(2, -5.0, 5.0, inputs.device)
    card = TaskCard("external", "find the bottom of a bowl", proposal="a point of 2 numbers")
    return Objective(Bowl(inputs), language, export, card)


def costs(spec: External, task: TaskData | None) -> RowCosts:
    return RowCosts(per_row=0, per_pass=1)


KIND = ObjectiveKind(
    External, "tests.support.own_objective:build", costs, uses_task=False, has_words=False
)
