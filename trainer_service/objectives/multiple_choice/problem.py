"""A soft prompt before every choice of a row, under a frozen encoder with one score on top.

The encoder's inputs are ``[prompt] [CLS] text [SEP] choice [SEP]``, one per choice; the scores of a
row's choices are its logits.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from mentorgrad.domain.objective import MultipleChoice
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.long_texts import TextRoom, fitted_task
from trainer_service.objectives.multiple_choice import require_choices, with_choice
from trainer_service.objectives.prompt_tuning import build as prompt_tuning
from trainer_service.objectives.prompt_tuning.problem import PromptTuningProblem
from trainer_service.objectives.tuned import Tuned, TunedFiles
from trainer_service.protocols import Objective
from trainer_service.tasks.data import CutTexts, Split, TaskData


class MultipleChoiceProblem(PromptTuningProblem):
    """Losses of a soft prompt and a linear score of each choice. A row's inputs follow each other:
    those of row i are ``i * choices`` and the next ones."""

    feature = ""
    template = "prompt [start] text [end] choice [end]"
    proposal = (
        "a phrase that is put in front of every text and one of its choices; a classifier with "
        "trained weights reads all three and scores the choice"
    )

    def __init__(self, spec: MultipleChoice, task: TaskData, *inputs: Any) -> None:
        require_choices(task)
        super().__init__(spec, task, *inputs)

    @staticmethod
    def outputs(task: TaskData) -> int:
        """Outputs of the head: the score of a choice."""
        return 1

    def _fitted(self, room: TextRoom) -> tuple[TaskData, CutTexts]:
        fitted = [fitted_task(self._with(at), room) for at in range(len(self.task.labels))]
        train, selection, test = (
            tuple(chain.from_iterable(zip(*(task.rows(split) for task, _ in fitted), strict=True)))
            for split in Split
        )
        cut = {
            split.value: sorted(set[int]().union(*(cut[split.value] for _, cut in fitted)))
            for split in Split
        }
        return replace(self.task, train=train, selection=selection, test=test), cut

    def _with(self, at: int) -> TaskData:
        return with_choice(self.task, lambda row: row.choices[at])

    def _inputs(self, rows: Tensor) -> Tensor:
        choices = len(self.task.labels)
        return rows.unsqueeze(-1) * choices + torch.arange(choices, device=rows.device)

    def features(self, split: Split) -> None:
        """None: a row has no single input."""
        return


def build(spec: MultipleChoice, inputs: BuildInputs) -> Objective:
    """Loads the encoder and tokenises the texts with each of their choices; see
    `prompt_tuning.build.build`."""
    return prompt_tuning.build(spec, inputs, MultipleChoiceProblem)


def reopen(files: TunedFiles, inputs: BuildInputs) -> Tuned:
    """Loads the encoder, to predict; see `prompt_tuning.build.reopen`."""
    return prompt_tuning.reopen(files, inputs, MultipleChoiceProblem, MultipleChoice)
