"""The baselines of one finished run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import structlog
import torch

from mentorgrad.domain.run import Baseline, Score
from trainer_service.baselines.frozen_model import FrozenModel, NotComputable, Predicted
from trainer_service.baselines.linear_probe import linear_probe
from trainer_service.baselines.probe_file import probe_bytes
from trainer_service.baselines.prototypes import prototypes
from trainer_service.objectives.classification import labels_of
from trainer_service.objectives.problem import Problem
from trainer_service.objectives.results import RowResults
from trainer_service.objectives.torch_free import PROBE_FILE
from trainer_service.tasks.data import Row, TaskData

log = structlog.get_logger(__name__)

Compute = Callable[[FrozenModel, Callable[[], None]], Predicted | None]
"""The frozen model's view of the rows, and a check that is called now and then and may raise →
predictions of the test rows; None if the objective lacks what the baseline needs."""


def majority(frozen: FrozenModel, check: Callable[[], None]) -> Predicted:
    """The frequencies of the classes among the labelled rows, for every text."""
    counts = np.bincount(frozen.labels)
    logits = np.log(counts / counts.sum())
    return Predicted(np.tile(logits, (frozen.test_rows, 1)), "", len(frozen.labels))


def zero_shot(frozen: FrozenModel, check: Callable[[], None]) -> Predicted | None:
    """The model without tuning; None for an objective that needs some."""
    # The test rows alone: a served model is asked about each row over the network.
    return None if frozen.untuned_test is None else Predicted(frozen.untuned_test)


BASELINES: Mapping[str, Compute] = {
    "majority": majority,
    "zero_shot": zero_shot,
    "linear_probe": linear_probe,
    "prototypes": prototypes,
}
"""By name, in the order of a result."""


_DEFECTS = (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)
"""What a baseline may fail with. A stop request is none, nor that a served model is away."""


Keep = Callable[[str, bytes], None]
"""Takes the name and the content of a file of a baseline."""

Tell = Callable[[str, np.ndarray], None]
"""Takes a baseline's name and its logits of the test rows [rows, classes]."""


def baselines(
    problem: Problem,
    check: Callable[[], None],
    keep: Keep = lambda name, content: None,
    tell: Tell = lambda name, logits: None,
) -> tuple[Baseline, ...]:
    """Every baseline that the problem allows, scored on *test*.

    One that fails has no score and says why: it never fails a run that has ended.

    Args:
        problem: The run's problem.
        check: Called now and then; may raise to abort.
        keep: Takes the files by which further rows can be classified.
        tell: Takes what each baseline predicts.

    Returns:
        Baselines in the order of `BASELINES`; none without test rows.
    """
    task = problem.task
    if task is None or not task.test:
        return ()
    frozen = FrozenModel(problem, task)

    def done(name: str, found: Predicted) -> None:
        tell(name, found.logits)
        if found.arrays:
            held = None if found.selection is None else _score(found.selection, task.selection)
            keep(PROBE_FILE, probe_bytes(found, problem.feature, task, held))

    made = (
        _baseline(name, compute, frozen, task, check, done) for name, compute in BASELINES.items()
    )
    return tuple(baseline for baseline in made if baseline is not None)


def _baseline(
    name: str,
    compute: Compute,
    frozen: FrozenModel,
    task: TaskData,
    check: Callable[[], None],
    done: Callable[[str, Predicted], None],
) -> Baseline | None:
    check()
    try:
        found = compute(frozen, check)
    except NotComputable as error:
        reason = str(error)
    except _DEFECTS as error:  # numerics, a lack of memory, or a defect
        log.warning("baseline_failed", baseline=name, exc_info=error)
        reason = f"could not be computed ({type(error).__name__}); see the worker's log"
    else:
        if found is None:
            return None
        done(name, found)
        return Baseline(name, _score(found.logits, task.test), found.labelled_rows, found.detail)
    return Baseline(name, detail=reason)


def _score(logits: np.ndarray, rows: Sequence[Row]) -> Score:
    values = torch.from_numpy(logits.astype(np.float32)).unsqueeze(0)
    labels = labels_of(rows, values.device)
    return RowResults.of_logits(values, labels).scores()[0]
