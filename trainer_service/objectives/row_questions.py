"""What a problem is asked about rows, and the answer of one process.

The rows of a question may be divided: an answer is a mean over its rows, or has an entry for each.
So several processes can answer together (`trainer_service.process_group`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from trainer_service.objectives.gradients import gradients_of
from trainer_service.tasks.data import Split

if TYPE_CHECKING:
    from trainer_service.objectives.problem import Problem


class QuestionKind(IntEnum):
    """What is asked of k parameters and n rows."""

    LOSSES = 1
    """The mean losses [k]."""
    GRADIENTS = 2
    """The mean losses [k] and their gradients [k, *shape]."""
    DERIVATIVE = 3
    """The mean loss of the first parameter, and its derivative along the second: scalars."""
    LOGITS = 4
    """The logits [k, n, classes], without gradients; of a problem with classes."""


@dataclass(frozen=True, eq=False)
class RowQuestion:
    """A question about rows of a split."""

    kind: QuestionKind
    """What is asked."""
    points: Tensor
    """The parameters, float32 [k, *shape]."""
    rows: Tensor
    """int64 row indices [n]."""
    split: Split = Split.TRAIN
    """Their split."""


class ProcessGroup(Protocol):
    """The processes of a run, which answer questions together."""

    devices: tuple[str, ...]
    """The device of each process, this one's first."""

    def answer(self, question: RowQuestion) -> tuple[Tensor, ...]:
        """The answer over all rows; one process would give the same up to rounding."""
        ...

    def close(self) -> None:
        """Ends the other processes."""
        ...


def answer_alone(problem: Problem, question: RowQuestion) -> tuple[Tensor, ...]:
    """The answer, computed in this process."""
    return _ANSWERS[question.kind](problem, question)


def _losses(problem: Problem, question: RowQuestion) -> tuple[Tensor, ...]:
    some = torch.split(question.points, max(1, problem.points_at_once(question.rows)))

    def of_part(rows: Tensor) -> tuple[Tensor]:
        return (torch.cat([problem.losses(each, rows) for each in some]),)

    with torch.no_grad():
        return tuple(problem.parts.mean(question.rows, of_part))


def _gradients(problem: Problem, question: RowQuestion) -> tuple[Tensor, ...]:
    at_once = problem.points_at_once(question.rows)

    def of_part(rows: Tensor) -> tuple[Tensor, Tensor]:
        return gradients_of(lambda some: problem.losses(some, rows), question.points, at_once)

    return tuple(problem.parts.mean(question.rows, of_part))


def _derivative(problem: Problem, question: RowQuestion) -> tuple[Tensor, ...]:
    with (
        warnings.catch_warnings(),
        forward_ad.dual_level(),
        sdpa_kernel(SDPBackend.MATH),  # the fused attention kernels have no forward mode
    ):
        # torch compiles its rules of forward mode with a function that it has deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        make_dual: Any = forward_ad.make_dual
        unpack_dual: Any = forward_ad.unpack_dual
        point, direction = torch.split(question.points.detach(), 1)
        dual = make_dual(point, direction)

        def of_part(rows: Tensor) -> tuple[Tensor, Tensor]:
            loss, slope = unpack_dual(problem.losses(dual, rows))
            return loss[0].detach(), slope[0].detach()

        return tuple(problem.parts.mean(question.rows, of_part))


def _logits(problem: Any, question: RowQuestion) -> tuple[Tensor, ...]:
    return (problem.computed_logits(question.points, question.split, question.rows),)


_ANSWERS: dict[QuestionKind, Callable[[Problem, RowQuestion], tuple[Tensor, ...]]] = {
    QuestionKind.LOSSES: _losses,
    QuestionKind.GRADIENTS: _gradients,
    QuestionKind.DERIVATIVE: _derivative,
    QuestionKind.LOGITS: _logits,
}
