"""What the baselines are made of: the rows of a run as the frozen model sees them, as arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from threadpoolctl import threadpool_limits
from torch import Tensor

from trainer_service.objectives.problem import Problem
from trainer_service.tasks.data import Split, TaskData

LABELLED = (Split.TRAIN, Split.SELECTION)
"""The splits whose labels a baseline knows."""

_FOLDS = 5
"""Maximum parts of a cross-validation."""


class NotComputable(ValueError):
    """A baseline cannot be computed on these rows; the message says why."""


@dataclass(frozen=True, eq=False)
class Seen:
    """Numbers that the frozen model gives for the rows."""

    labelled: np.ndarray
    """float32 [labelled rows, width]."""
    test: np.ndarray
    """float32 [test rows, width]."""


@dataclass(frozen=True, eq=False)
class Predicted:
    """What a baseline says of the test rows."""

    logits: np.ndarray
    """[test rows, classes]; their softmax is the predicted distribution."""
    detail: str = ""
    """The settings that it chose, for people."""
    labelled_rows: int = 0
    """Number of labelled rows that it was fitted on."""
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    """By which it classifies further rows; empty: it is not kept."""
    selection: np.ndarray | None = None
    """Logits [selection rows, classes] of the same method, fitted on train alone; None if it has
    none, or if train lacks a class."""


class FrozenModel:
    """The rows of a run as its frozen model sees them, without any tuned parameter.

    Args:
        problem: The run's problem. Passes through its model are made when first asked for.
        task: The run's rows.
    """

    def __init__(self, problem: Problem, task: TaskData) -> None:
        self._problem = problem
        self.classes = len(task.labels)
        self.train_rows = len(task.train)
        self.test_rows = len(task.test)
        rows = [row.label for split in LABELLED for row in task.rows(split)]
        self._labels = np.asarray(rows, dtype=np.int64)
        self._missing = [word for at, word in enumerate(task.labels) if at not in set(rows)]

    @property
    def labels(self) -> np.ndarray:
        """Class indices of the labelled rows, int64 [rows].

        Raises:
            NotComputable: A class has no labelled row.
        """
        if self._missing:
            raise NotComputable(f"no labelled row is of class {self._missing[0]!r}")
        return self._labels

    @cached_property
    def features(self) -> Seen | None:
        """`Problem.features`; None if the objective has none.

        Raises:
            NotComputable: They are not finite.
        """
        read = self._problem.features
        return self._seen(read, self._read(read, (Split.TEST,)))

    @cached_property
    def untuned_test(self) -> np.ndarray | None:
        """`Problem.untuned_logits` of the test rows alone; None if the objective has none.

        Raises:
            NotComputable: They are not finite.
        """
        return self._read(self._problem.untuned_logits, (Split.TEST,))

    @cached_property
    def untuned(self) -> Seen | None:
        """`Problem.untuned_logits`; None if the objective has none.

        Raises:
            NotComputable: They are not finite.
        """
        return self._seen(self._problem.untuned_logits, self.untuned_test)

    def _seen(self, read: Callable[[Split], Tensor | None], test: np.ndarray | None) -> Seen | None:
        labelled = None if test is None else self._read(read, LABELLED)
        return None if labelled is None or test is None else Seen(labelled, test)

    def _read(
        self, read: Callable[[Split], Tensor | None], splits: Sequence[Split]
    ) -> np.ndarray | None:
        """Numbers of all rows of some splits, float32 [rows, width]."""
        found = []
        for split in splits:
            values = read(split)
            if values is None:
                return None
            found.append(values.numpy(force=True).astype(np.float32))
        joined = np.concatenate(found)
        if not np.isfinite(joined).all():
            raise NotComputable("the frozen model gives values that are not finite")
        return joined


def folds(labels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Stratified cross-validation: up to five pairs of fitted and held-out rows, each class in
    equal shares. The same for the same labels; none if a class has a single row."""
    # scikit-learn takes a second to import, and the service's start does not wait for it.
    from sklearn.model_selection import StratifiedKFold

    count = min(_FOLDS, int(np.bincount(labels).min()))
    if count > 1:
        parts = StratifiedKFold(count, shuffle=True, random_state=0)
        yield from parts.split(np.zeros(len(labels)), labels)


def one_thread() -> AbstractContextManager[object]:
    """Lets the linear algebra in its block run on one thread: the matrices are small, threads that
    wait for each other cost more than they gain, and the result depends on no number of cores."""
    limits: AbstractContextManager[object] = threadpool_limits(1, user_api="blas")
    return limits


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities over the last axis, float64."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    normalised: np.ndarray = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return normalised


def mean_loss(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean cross-entropy, in nats [...], of logits [..., rows, classes] and labels [rows]."""
    losses: np.ndarray = -log_softmax(logits)[..., np.arange(len(labels)), labels].mean(-1)
    return losses
