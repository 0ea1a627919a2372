"""Reads tasks from a folder: per task, `task.json`, `train.jsonl` and a file of test rows."""

from __future__ import annotations

import json
from pathlib import Path

from mentorgrad.domain.spec import DataFiles, Task

TRAIN = "train.jsonl"
TESTS = ("test_labelled.jsonl", "validation.jsonl")
"""Names of the file with the test rows; the first that exists is used."""


def read_tasks(folder: Path, only: tuple[str, ...] = ()) -> tuple[Task, ...]:
    """Reads the tasks of a folder, sorted by name, for a trainer with this folder as data root.

    Args:
        folder: Contains one folder per task.
        only: Names of tasks to read, in this order; empty: all.

    Raises:
        FileNotFoundError: A task is missing, or there are none.
    """
    names = only or tuple(sorted(path.parent.name for path in folder.glob("*/task.json")))
    if not names:
        raise FileNotFoundError(f"{folder} has no folder with a task.json")
    return tuple(_read(folder, name) for name in names)


def _read(folder: Path, name: str) -> Task:
    card = json.loads((folder / name / "task.json").read_text())
    test = next(file for file in TESTS if (folder / name / file).exists())
    return Task(
        name=name,
        data=DataFiles(
            train=f"{name}/{TRAIN}",
            test=f"{name}/{test}",
            pair_field="text_pair" if card.get("pair") else "",
        ),
        description=card["description"],
        labels=tuple(card["labels"]),
    )
