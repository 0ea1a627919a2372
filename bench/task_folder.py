"""Tasks of a folder: `<task>/task.json`, `train.jsonl`, and a file with the test rows."""

from __future__ import annotations

import json
from pathlib import Path

from mentorgrad.domain.spec import DataFiles, Task

TRAIN = "train.jsonl"
TESTS = ("test_labelled.jsonl", "validation.jsonl")
"""Files that may hold the test rows, the first that is there."""


def read_tasks(folder: Path, only: tuple[str, ...] = ()) -> tuple[Task, ...]:
    """The tasks of a folder, by name, for a trainer whose data root the folder is.

    Args:
        folder: Has a folder for each task.
        only: Names of those wanted, in this order; empty: all.

    Raises:
        FileNotFoundError: A wanted task is not there, or there is none at all.
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
