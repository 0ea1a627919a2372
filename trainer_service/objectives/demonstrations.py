"""Train rows that are shown with their labels in front of every text."""

from __future__ import annotations

from dataclasses import replace

from trainer_service.seeds import balanced_rows
from trainer_service.tasks.data import Row, TaskData


def set_apart(task: TaskData, per_class: int, seed: int) -> tuple[tuple[Row, ...], TaskData]:
    """Draws the demonstrations, one row per class in turn.

    Args:
        task: The run's rows.
        per_class: Demonstrations per class.
        seed: The run's seed.

    Returns:
        The demonstrations, and the task without them: no row may see its own label.
    """
    count = per_class * len(task.labels)
    chosen = balanced_rows(task.train, count, seed, "demonstrations")
    left = tuple(row for index, row in enumerate(task.train) if index not in set(chosen))
    return tuple(task.train[index] for index in chosen), replace(task, train=left)
