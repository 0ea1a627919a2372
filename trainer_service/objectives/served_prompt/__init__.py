"""The objective ``served_prompt``: a line of text for a language model that is served or quantised.

The parameter is the text itself. Rows are scored by the log-probabilities of label words, without
gradients, so a run takes no optimizer steps: it consists of rounds of proposals and scores.

This module imports no torch; `build` and `reopen` do.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from mentorgrad.domain.objective import PromptPosition, ServedPrompt
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput, MentorgradError, Unsupported, Violation
from mentorgrad.installed import pip_line
from mentorgrad.model_refs import resolve
from trainer_service.costs import RowCosts
from trainer_service.objectives.initial_text import fitting, texts_of
from trainer_service.objectives.input_template import Template, TemplateError
from trainer_service.objectives.kinds import CheckInputs, ObjectiveKind
from trainer_service.objectives.peft_folder import text_of_run
from trainer_service.objectives.prompt_checks import calibration_rows, check_demonstrations
from trainer_service.objectives.start_files import StartSources, names_files
from trainer_service.running.budget import takes_no_steps
from trainer_service.tasks.data import TaskData

_GGUF = b"GGUF"


def require_packages(served: bool) -> None:
    """Checks that the tuned model can be reached or loaded.

    Raises:
        Unsupported: A package is not installed.
    """
    what, package, extras = (
        ("a served model", "httpx", "trainer")
        if served
        else ("a GGUF file", "llama_cpp", "trainer,mentor")
    )
    if importlib.util.find_spec(package) is None:
        raise Unsupported(
            f"served_prompt with {what} needs {package}; run: {pip_line(extras)}",
            reason="MISSING_EXTRA",
        )


def check(spec: ServedPrompt, inputs: CheckInputs) -> None:
    """Checks the model, the template, the labels, and that the run takes no steps."""
    _check_model(spec, inputs)
    inputs.findings.extend(_run_violations(spec, inputs.run))
    path = inputs.path
    try:
        start_text(spec, inputs.task, inputs.starts, path)
    except InvalidInput as error:
        inputs.findings.extend(error.violations, error.reason)
    if inputs.task is None:
        return
    try:
        read_template(spec, inputs.task)
    except TemplateError as error:
        inputs.findings.add(f"{path}.template", str(error), "BAD_TEMPLATE")
    for index, label in enumerate(inputs.task.labels):
        if not label.strip() or "\n" in label:
            where = f"spec.task.labels[{index}]"
            inputs.findings.add(where, "must be a word or words in one line", "BAD_LABELS")
    check_demonstrations(spec, inputs)


def start_text(spec: ServedPrompt, task: TaskData | None, sources: StartSources, path: str) -> str:
    """The text that a spec starts from: its `initial_text`, or what this names.

    Raises:
        InvalidInput: It is too long, the run or folder has no text, or the task no description.
    """
    field, text = f"{path}.initial_text", spec.initial_text
    texts = (
        {text_of_run(text, sources, field): "has"} if names_files(text) else texts_of(text, task)
    )
    return fitting(
        texts,
        lambda text: len(" ".join(text.split())),
        spec.max_characters,
        field,
        unit="characters",
        limit="max_characters",
    )


def read_template(spec: ServedPrompt, task: TaskData) -> Template:
    """The template of a spec.

    Raises:
        TemplateError: It cannot be used.
    """
    template = Template.parse(spec.template, PromptPosition.AFTER_TEXT, task.is_paired)
    if template.lead != " ":  # servers' tokens of a word mostly begin with its space
        raise TemplateError("must end with a space and {label}")
    return template


def _check_model(spec: ServedPrompt, inputs: CheckInputs) -> None:
    if spec.model in inputs.tuned_models:
        require_packages(served=True)
        return
    where = f"{inputs.path}.model"
    try:
        file = resolve(spec.model, roots=inputs.model_roots)
    except MentorgradError as error:
        known = ", ".join(inputs.tuned_models) or "none"
        inputs.findings.add(where, f"{error.message}; served models: {known}", error.reason)
        return
    if not _is_gguf(file):
        inputs.findings.add(where, "must be a GGUF file or a served model", "BAD_MODEL")
        return
    require_packages(served=False)


def _is_gguf(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(len(_GGUF)) == _GGUF
    except OSError:
        return False


def _run_violations(spec: ServedPrompt, run: RunSpec) -> Iterator[Violation]:
    """Violations of settings that make no sense for a text without gradients."""
    if not takes_no_steps(run):
        yield Violation(
            "spec.stages.steps",
            "served_prompt takes no gradient steps: set stages.steps and stages.first_steps to 0, "
            "and no limit budget.gradient_steps; proposals are scored after each stage",
        )
    if run.acceptance.blend != 1.0:
        yield Violation("spec.acceptance.blend", "must be 1: texts cannot be blended")
    for name in ("weight", "weights"):
        given = run.mentor.options.get(name, ())
        weights = given if isinstance(given, (list, tuple)) else [given]
        if any(weight != 1.0 for weight in weights):
            yield Violation(f"spec.mentor.options.{name}", "must be 1: texts cannot be blended")


def costs(spec: ServedPrompt, task: TaskData | None) -> RowCosts:
    """A pass scores each of its rows; a score takes the inputs of its calibration besides."""
    return RowCosts(per_score=calibration_rows(spec, task) if task is not None else 0)


KIND = ObjectiveKind(
    ServedPrompt,
    "trainer_service.objectives.served_prompt.build:build",
    costs,
    check,
    reopen="trainer_service.objectives.served_prompt.reopen:reopen",
    has_words=False,
    has_gradients=False,
    takes_steps=False,
    forward_row="a text whose labels are scored",
)
