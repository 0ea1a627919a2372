"""The objective ``multiple_choice``: the soft prompt of ``prompt_tuning``, with a score per choice.

A row has as many choices as its task has labels, and its label says which is right. This module
imports no torch; `problem` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mentorgrad.domain.objective import MultipleChoice
from mentorgrad.errors import InvalidInput
from trainer_service.costs import RowCosts
from trainer_service.objectives.kinds import CheckInputs, ObjectiveKind
from trainer_service.objectives.prompt_tuning import check_prompt
from trainer_service.tasks.data import Row, Split, TaskData

REASON = "CHOICES_MISSING"


def with_choice(task: TaskData, chosen: Callable[[Row], str]) -> TaskData:
    """The task with one choice of each row as its second text."""
    train, selection, test = (
        tuple(replace(row, pair=chosen(row)) for row in task.rows(split)) for split in Split
    )
    return replace(task, train=train, selection=selection, test=test)


def require_choices(task: TaskData) -> None:
    """Checks that every row has one choice per label.

    Raises:
        InvalidInput: One has not; names the first.
    """
    count = len(task.labels)
    for split in Split:
        for index, row in enumerate(task.rows(split)):
            if len(row.choices) != count or not all(row.choices):
                raise InvalidInput.field(
                    "spec.task",
                    f"row {index + 1} of {split.value} has {sum(map(bool, row.choices))} choices, "
                    f"not {count}, one per label; set `choice_fields`, or give them as the second "
                    "text, one per line",
                    reason=REASON,
                )


def check(spec: MultipleChoice, inputs: CheckInputs) -> None:
    """Checks what `prompt_tuning` does, and that the rows have choices."""
    if inputs.task is not None:
        try:
            require_choices(inputs.task)
        except InvalidInput as error:
            inputs.findings.extend(error.violations, error.reason)
        longest = with_choice(inputs.task, lambda row: max(row.choices, key=len, default=""))
        inputs = replace(inputs, task=longest)
    check_prompt(spec, inputs, outputs=1)


def costs(spec: MultipleChoice, task: TaskData | None) -> RowCosts:
    """A pass encodes each of its rows once per choice."""
    return RowCosts(per_row=len(task.labels) if task else 1)


KIND = ObjectiveKind(
    MultipleChoice,
    "trainer_service.objectives.multiple_choice.problem:build",
    costs,
    check,
    reopen="trainer_service.objectives.multiple_choice.problem:reopen",
    forward_row="a text that is encoded with one choice",
)
