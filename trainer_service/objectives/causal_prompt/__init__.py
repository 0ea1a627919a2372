"""The objective ``causal_prompt``: a soft prompt for a frozen causal language model, which answers
with a label word.

This module imports no torch; `problem` does.
"""

from __future__ import annotations

from mentorgrad.domain.spec import Calibration, CausalPrompt, PromptPosition
from trainer_service.costs import RowCosts
from trainer_service.objectives.input_template import Template, TemplateError
from trainer_service.objectives.kinds import CheckInputs, ObjectiveKind
from trainer_service.objectives.prompt_checks import (
    calibration_rows,
    check_demonstrations,
    require_peft,
    train_rows,
)
from trainer_service.tasks.data import TaskData

PATH = "spec.objective.causal_prompt"
"""Path of the objective's fields in a request."""


def check(spec: CausalPrompt, inputs: CheckInputs) -> None:
    """Checks the model, the template and the number of rows."""
    findings, task = inputs.findings, inputs.task
    if spec.position is PromptPosition.BEFORE_TEXT:
        require_peft("causal_prompt with the position before_text")
    try:
        Template.parse(spec.template, spec.position, task is not None and task.is_paired)
    except TemplateError as error:
        findings.add(f"{inputs.path}.template", str(error))
    if spec.chat_template and spec.position is PromptPosition.BEFORE_TEXT:
        findings.add(f"{inputs.path}.chat_template", "needs the position after_text")
    if task is None:
        return
    for label in task.labels:
        if not label.strip():
            findings.add("spec.task.labels", "must not be empty", "LABEL_TOKENS")
    check_demonstrations(spec, inputs)
    if spec.calibration is Calibration.BATCH and len(task.train) + len(task.selection) < 2:
        findings.add(f"{inputs.path}.calibration", "batch needs more than one row")


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
    forward_row="a row through the language model, whether its text is cached or not",
)
