"""Loads tasks by name: from a folder of files, or a local copy of a published task's data set.

A folder of this name is looked for in the data roots, then among the imported tasks
(`mentorgrad tasks import`), the data set as every ``hf:`` name is. `hub` reads the rows of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mentorgrad.dataset_refs import REASON, resolve
from mentorgrad.domain.spec import Task
from mentorgrad.errors import InvalidInput, NotFound, Unsupported
from mentorgrad.named_tasks import CARD, NamedTask, published_tasks, split_files, task_of_folder
from mentorgrad.paths import tasks_folder
from mentorgrad.tables.malformed import MalformedError
from trainer_service.tasks.data import Source
from trainer_service.tasks.hub import read_source
from trainer_service.tasks.hub_layout import Layout


def load_named(task: Task, roots: Sequence[Path], path: str) -> Source | None:
    """Loads a task by its name; None if no folder and no published task has this name.

    Args:
        task: The task; neither built in nor an ``hf:`` name.
        roots: Folders that are searched before the imported tasks and the Hugging Face cache.
        path: Path of the task field in the request, for violations.

    Raises:
        InvalidInput: The task is not on this machine, or its files do not fit.
        Unsupported: The package ``datasets``, which a copy of a data set needs, is not installed.
    """
    folder = _folder(task.name, roots)
    if folder is None and task.name not in published_tasks():
        return None
    try:
        named, layout = _of_folder(task.name, folder) if folder else _of_hub(task.name, roots)
        if task.labels and named.labels and len(task.labels) != len(named.labels):
            classes = f"{task.name} has {len(named.labels)} classes, not {len(task.labels)}"
            raise InvalidInput.field(f"{path}.labels", classes)
        complete = replace(
            task,
            hub=named.columns(layout.columns),
            labels=task.labels or named.labels,
            description=task.description or named.description,
        )
        source = read_source(complete, layout, path)
        return replace(source, field="name", untuned_prompt=named.prompt)
    except (InvalidInput, MalformedError) as error:
        violations = error.violations if isinstance(error, InvalidInput) else ()
        if any(violation.field == f"{path}.labels" for violation in violations):
            raise
        what = "; ".join(violation.description for violation in violations) or str(error)
        reason = error.reason if isinstance(error, InvalidInput) else "DATA_MALFORMED"
        raise InvalidInput.field(f"{path}.name", f"{task.name}: {what}", reason=reason) from None


def _of_folder(name: str, folder: Path) -> tuple[NamedTask, Layout]:
    named = task_of_folder(name, folder)
    if named is None:
        raise MalformedError(f"is no published task, and its folder has no {CARD}")
    return named, Layout.of_folder(folder, named)


def _of_hub(name: str, roots: Sequence[Path]) -> tuple[NamedTask, Layout]:
    named = published_tasks()[name]
    try:
        if named.source:
            return named, Layout.of(resolve(named.source, roots))
    except (NotFound, Unsupported):  # without huggingface-hub there is no copy either
        pass
    raise InvalidInput(f"is not on this machine; {_remedy(named)}", reason=REASON)


def _remedy(task: NamedTask) -> str:
    """How a task gets to this machine."""
    here = f"mentorgrad tasks import {task.name} FOLDER"
    get = f"run on it: mentorgrad tasks pull {task.name} (or: {here})"
    if not task.source:
        get = f"get it from {task.homepage}, and run on it: {here}"
    files = "train.jsonl and validation.jsonl"
    if task.has_images:
        files = "train/CLASS/*.jpg (or .png), and test/CLASS/*.jpg if there are test images"
    return (
        f"{get}; or start the trainer with a data root that has a folder {task.name} with {files}"
    )


def _folder(name: str, roots: Sequence[Path]) -> Path | None:
    """The folder with the task's files; one that a link leads out of its root is none."""
    imported = tasks_folder()
    for root in (*roots, *([imported] if imported else ())):
        base = Path(root).expanduser().resolve()
        try:
            folder = (base / name).resolve()
            if folder.is_relative_to(base) and "train" in split_files(folder):
                return folder
        except (OSError, RuntimeError):  # a name that is too long, a loop of links
            continue
    return None
