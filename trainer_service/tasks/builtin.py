"""The built-in tasks. Each is a subfolder of this package with a card and one file per split."""

from __future__ import annotations

import json
from pathlib import Path

from mentorgrad.errors import InvalidInput
from mentorgrad.named_tasks import published_tasks
from trainer_service.tasks.data import Row, Source

_HERE = Path(__file__).parent


def builtin_names() -> tuple[str, ...]:
    """Names of the built-in tasks, in alphabetical order."""
    return tuple(sorted(path.parent.name for path in _HERE.glob("*/task.json")))


def load_builtin(name: str, path: str = "spec.task.name") -> Source:
    """Loads a built-in task.

    Args:
        name: One of `builtin_names`.
        path: Path of the name field in the request, for violations.

    Raises:
        InvalidInput: No built-in task has this name.
    """
    if name not in builtin_names():
        known = ", ".join(builtin_names())
        raise InvalidInput.field(
            path,
            f"{name!r} is not a built-in task; known: {known}; published ones: "
            f"{', '.join(published_tasks())}; to use your own files, set `data`, or run on the "
            f"server: mentorgrad tasks import {name} FOLDER",
            reason="TASK_NOT_FOUND",
        )
    card = json.loads((_HERE / name / "task.json").read_text(encoding="utf-8"))
    return Source(
        name=name,
        description=card["description"],
        labels=tuple(card["labels"]),
        train=_rows(name, "train"),
        selection=_rows(name, "selection"),
        test=_rows(name, "test"),
    )


def _rows(name: str, split: str) -> tuple[Row, ...]:
    lines = (_HERE / name / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(Row(**json.loads(line)) for line in lines)
