"""Loads the task of a spec and samples the rows of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mentorgrad.domain.spec import DataFiles, Task
from mentorgrad.errors import InvalidInput, PreconditionFailed
from mentorgrad.tables.malformed import MalformedError
from mentorgrad.tables.values import LabelValues
from trainer_service.tasks.builtin import builtin_names, load_builtin
from trainer_service.tasks.data import Source, TaskData
from trainer_service.tasks.files import FileReader
from trainer_service.tasks.hub import load_hub
from trainer_service.tasks.named import load_named
from trainer_service.tasks.sampling import draw
from trainer_service.tasks.uploaded import OpenUpload


def load_task(
    task: Task,
    seed: int,
    data_roots: Sequence[Path],
    path: str = "spec.task",
    *,
    uploads: OpenUpload | None = None,
    recorded: str = "",
) -> TaskData:
    """Reads a task and samples its rows.

    Args:
        task: Names the data set or its files, and the number of rows.
        seed: Seed of the sampling.
        data_roots: Folders that data files may be read from.
        path: Path of the task field in the request, for violations.
        uploads: Opens uploaded data files; None: there are none.
        recorded: Digest that the rows must have, of a run that was created with them; empty: any.

    Raises:
        InvalidInput: The task is unknown, or one of its files is missing, malformed or too small.
        PreconditionFailed: The rows are not those that were recorded (reason DATA_CHANGED).
        Unsupported: A parquet file needs pyarrow, or an ``hf:`` name needs ``datasets``, and the
            package is not installed.
    """
    if task.data:
        values = _values(task, path)
        reader = FileReader(task.data, task.labels, tuple(data_roots), values, uploads)
        source = _own(task, task.data, reader, path)
    elif task.name.startswith("hf:"):
        source = load_hub(task, data_roots, path)
    elif task.name in builtin_names():
        source = _builtin(task, path)
    else:
        # Without a task of this name, the error names the built-in ones.
        source = load_named(task, data_roots, path) or load_builtin(task.name, f"{path}.name")
    rows = draw(
        source,
        shots=task.shots,
        selection_rows=task.selection_rows,
        seed=seed,
        test_rows=task.test_rows,
        path=path,
    )
    if recorded and rows.digest != recorded:
        raise PreconditionFailed(
            f"the rows of task {task.name} are not those that the run was created with: their "
            f"SHA-256 is {rows.digest}, and that of the run's rows is {recorded}; restore the "
            "data, or create a new run",
            reason="DATA_CHANGED",
        )
    return rows


def _builtin(task: Task, path: str) -> Source:
    source = load_builtin(task.name, f"{path}.name")
    if task.labels and len(task.labels) != len(source.labels):
        raise InvalidInput.field(
            f"{path}.labels",
            f"{task.name} has {len(source.labels)} classes, not {len(task.labels)}",
        )
    return replace(
        source,
        description=task.description or source.description,
        labels=task.labels or source.labels,
    )


def _own(task: Task, files: DataFiles, reader: FileReader, path: str) -> Source:
    return Source(
        name=task.name,
        description=task.description,
        labels=task.labels,
        train=reader.read(files.train, f"{path}.data.train"),
        selection=(
            reader.read(files.selection, f"{path}.data.selection") if files.selection else None
        ),
        test=reader.read(files.test, f"{path}.data.test") if files.test else (),
    )


def _values(task: Task, path: str) -> LabelValues | None:
    if not task.label_values:
        return None
    try:
        return LabelValues(task.label_values)
    except MalformedError as error:
        raise InvalidInput.field(f"{path}.label_values", str(error)) from None
