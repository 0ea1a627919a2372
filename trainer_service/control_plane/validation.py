"""Validates a spec's data, models and names before a run is queued.

The control plane calls this in its own process, so nothing here imports torch or transformers, and
no weights are read: a model is checked by its configuration and tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

from mentorgrad.domain.spec import ClassWeight, Criterion, MentorChoice, RunSpec
from mentorgrad.errors import InvalidInput, Violation
from run_store.uploads import UploadReader
from trainer_service.objectives.kinds import CheckInputs, Findings, ObjectiveKind
from trainer_service.objectives.start_files import OpenRun, no_runs
from trainer_service.objectives.table import kind_of
from trainer_service.optimizers.table import OPTIMIZERS
from trainer_service.running.budget import forward_row_violations, run_prices
from trainer_service.tasks.builtin import builtin_names
from trainer_service.tasks.data import TaskData
from trainer_service.tasks.load import load_task
from trainer_service.tasks.uploaded import uploaded_file


def validate_objective(
    spec: RunSpec,
    *,
    data_roots: Sequence[Path] = (),
    model_roots: Sequence[Path] | None = (),
    tuned_models: Collection[str] = (),
    cache_dir: Path | None = None,
    uploads: UploadReader | None = None,
    open_run: OpenRun = no_runs,
    most_devices: int | None = 1,
    warn: Callable[[str], None] = lambda text: None,
) -> str:
    """Validates everything that a spec refers to, without reading weights.

    Reads the task's files, which may take seconds; do not call it on an event loop.

    Args:
        spec: The spec.
        data_roots: Directories that must contain the task's files.
        model_roots: Directories that must contain models named by a path; None: no restriction.
        tuned_models: Names of the served models that the trainer knows.
        cache_dir: Cache folder of dequantised models.
        uploads: Reads uploaded data files; None: there are none.
        open_run: Opens the files of another run, to start from.
        most_devices: Devices that a run may have; None: others decide about that.
        warn: Called with each warning for the caller.

    Returns:
        SHA-256 over the run's rows; empty for an objective without data.

    Raises:
        InvalidInput: With every violation found.
        Unsupported: A required package is not installed.
    """
    kind = kind_of(spec.objective)
    findings = Findings()
    findings.extend(_optimizer(spec, kind))
    findings.extend(_devices(spec, kind, most_devices))
    if spec.task.class_weight is not ClassWeight.NONE and not (kind.uses_task and kind.takes_steps):
        none = f"must be none: {kind.name} takes no gradient steps on rows of classes"
        findings.add("spec.task.class_weight", none)
    task: TaskData | None = None
    if kind.uses_task:
        opened = None if uploads is None else partial(uploaded_file, uploads)
        try:
            task = load_task(spec.task, spec.seed, data_roots, uploads=opened)
        except InvalidInput as error:
            findings.extend(error.violations, error.reason)
        if task is not None and task.has_images and not kind.takes_images:
            findings.add("spec.task", f"has images; {kind.name} is for texts", "IMAGES_UNSUPPORTED")
            task = None  # what else is wrong with it as texts would mislead
    known = CheckInputs(
        kind.path,
        task,
        model_roots,
        findings,
        run=spec,
        tuned_models=tuned_models,
        cache_dir=cache_dir,
        warn=warn,
        open_run=open_run,
    )
    kind.check(spec.objective, known)
    if task is not None or not kind.uses_task:
        findings.extend(_selection(spec, task))
        if spec.optimizer.name in OPTIMIZERS:
            prices = run_prices(spec, kind.costs(spec.objective, task), task)
            findings.extend(forward_row_violations(spec, kind.has_words, prices))
    findings.settle()
    for line in (*_left_out(spec, task), *_unasked(spec)):
        warn(line)
    return task.digest if task else ""


def _left_out(spec: RunSpec, task: TaskData | None) -> Iterator[str]:
    """A warning of labelled rows that the run does not use; the built-in task is made for few."""
    if task is None or (spec.task.data is None and spec.task.name in builtin_names()):
        return
    limits = []
    if task.unused_train and spec.task.shots:
        limits.append(
            f"spec.task.shots = {spec.task.shots} limits the train rows per class (0: all)"
        )
    if task.unused_selection or (task.unused_train and not spec.task.shots):
        rows = spec.task.selection_rows
        limits.append(f"spec.task.selection_rows = {rows} limits the selection rows per class")
    unused = task.unused_train + task.unused_selection
    if unused:
        used = len(task.train) + len(task.selection)
        yield f"{unused} of {unused + used} labelled rows are not used: {'; '.join(limits)}"


def _unasked(spec: RunSpec) -> Iterator[str]:
    """A warning of a strategy that nobody is asked by."""
    mentor = spec.mentor
    if mentor.is_control and mentor.strategy != MentorChoice().strategy:
        yield (
            f"spec.mentor.strategy = {mentor.strategy} is not used: spec.mentor.name = "
            f"{mentor.name}, which asks no language model"
        )


def _optimizer(spec: RunSpec, kind: ObjectiveKind) -> Iterator[Violation]:
    path, name = "spec.optimizer.name", spec.optimizer.name
    usable = [
        known
        for known, entry in OPTIMIZERS.items()
        if kind.has_gradients or not (entry.needs_gradients and kind.takes_steps)
    ]
    if name in OPTIMIZERS and name not in usable:
        yield Violation(
            path,
            f"{name} needs gradients, which {kind.name} does not have; "
            f"choose one of: {', '.join(usable) or 'none'}",
        )
    elif name not in usable:
        yield Violation(path, f"must be one of: {', '.join(usable)}")
    elif OPTIMIZERS[name].directions_of(spec.optimizer) < OPTIMIZERS[name].least_directions:
        least = OPTIMIZERS[name].least_directions
        yield Violation("spec.optimizer.directions", f"must be at least {least} for {name}")


def _devices(spec: RunSpec, kind: ObjectiveKind, most: int | None) -> Iterator[Violation]:
    if spec.devices > 1 and not (kind.uses_task and kind.takes_steps):
        why = f"must be 1: {kind.name} has no steps on rows, which several devices could share"
        yield Violation("spec.devices", why)
    elif most is not None and spec.devices > most:
        why = f"must be at most {most}, the devices or worker slots of this trainer for one run"
        yield Violation("spec.devices", why)


def _selection(spec: RunSpec, task: TaskData | None) -> Iterator[Violation]:
    """Violations of settings that the rows of the selection split do not allow."""
    rows = len(task.selection) if task else 1
    rounds = spec.acceptance.screening_rounds
    least = 2 ** (rounds - 1)
    if rows < least:
        yield Violation(
            "spec.acceptance.screening_rounds",
            f"{rounds} rounds need at least {least} selection rows; there are {rows}",
        )
    if task is None and spec.criterion is not Criterion.LOSS:
        # With a task, every class has selection rows, on which all criteria are defined.
        undefined = f"must be loss: without classes, {spec.criterion.value} is undefined"
        yield Violation("spec.criterion", undefined)
