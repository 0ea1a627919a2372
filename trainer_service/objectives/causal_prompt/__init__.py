"""The objective ``causal_prompt``: a soft prompt for a frozen causal language model, which answers
with a label word.

This module imports no torch; `problem` does.
"""

from __future__ import annotations

from mentorgrad.domain.objective import CausalPrompt, PromptPosition
from trainer_service.costs import RowCosts
from trainer_service.objectives.causal_prompt.checks import check
from trainer_service.objectives.kinds import ObjectiveKind
from trainer_service.objectives.prompt_checks import calibration_rows, train_rows
from trainer_service.tasks.data import TaskData

PATH = "spec.objective.causal_prompt"
"""Path of the objective's fields in a request."""


def costs(spec: CausalPrompt, task: TaskData | None) -> RowCosts:
    """A pass takes each of its rows. The states of texts in front of a prompt are computed once per
    run, and a score takes the inputs of its calibration besides."""
    if task is None:
        return RowCosts()
    is_after = spec.position is PromptPosition.AFTER_TEXT
    setup = train_rows(spec, task) + len(task.selection) if is_after else 0
    return RowCosts(setup=setup, per_score=calibration_rows(spec, task))


KIND = ObjectiveKind(
    CausalPrompt,
    "trainer_service.objectives.causal_prompt.build:build",
    costs,
    check,
    reopen="trainer_service.objectives.causal_prompt.build:reopen",
    forward_row="a row through the language model, whether its text is cached or not",
)
