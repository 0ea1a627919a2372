"""Answers to questions about rows, by all processes of a group, each for its share of the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog
import torch
from torch import Tensor

from trainer_service.encoding.memory import is_lack_of_memory
from trainer_service.objectives.problem import Problem
from trainer_service.objectives.row_questions import QuestionKind, RowQuestion, answer_alone
from trainer_service.process_group.collectives import Collectives
from trainer_service.tasks.data import Split

log = structlog.get_logger(__name__)

_SPLITS = tuple(Split)
_END = 0
"""In the place of a question's kind: there will be no further question."""
_ANSWERED, _FAILED, _LACKED_MEMORY = range(3)
"""What became of a share, the worst last."""


class Leader:
    """Asks the other processes of a group, and answers with them; see `ProcessGroup`.

    Args:
        problem: This process's problem.
        collectives: Those of process 0.
        devices: The device of each process.
        end: Called after the last question.
    """

    def __init__(
        self,
        problem: Problem,
        collectives: Collectives,
        devices: tuple[str, ...],
        end: Callable[[], None] = lambda: None,
    ) -> None:
        self.devices = devices
        self._problem = problem
        self._collectives = collectives
        self._end = end

    def answer(self, question: RowQuestion) -> tuple[Tensor, ...]:
        """See `ProcessGroup`.

        Raises:
            MemoryError: Another process lacks memory.
            RuntimeError: Another process failed; its log says why.
        """
        if not len(question.rows):
            return answer_alone(self._problem, question)
        points, rows = question.points.detach().contiguous(), question.rows.contiguous()
        question = replace(question, points=points, rows=rows)
        split, parts = _SPLITS.index(question.split), self._problem.parts.count
        self._announce(question.kind, len(points), len(rows), split, parts)
        self._collectives.broadcast(points)
        self._collectives.broadcast(rows)
        return _answered(self._problem, self._collectives, question)

    def close(self) -> None:
        """See `ProcessGroup`."""
        self._announce(_END, 0, 0, 0, 0)
        self._end()

    def _announce(self, *header: int) -> None:
        self._collectives.broadcast(torch.tensor(header))


def follow(problem: Problem, collectives: Collectives) -> None:
    """Answers the leader's questions together with it, until there are no more."""
    while True:
        header = torch.zeros(5, dtype=torch.int64)
        collectives.broadcast(header)
        kind, points, rows, split, parts = header.tolist()
        if kind == _END:
            return
        problem.parts.count = parts
        question = RowQuestion(
            QuestionKind(kind),
            torch.empty(points, *problem.shape, device=problem.device),
            torch.empty(rows, dtype=torch.int64, device=problem.device),
            _SPLITS[split],
        )
        collectives.broadcast(question.points)
        collectives.broadcast(question.rows)
        try:
            _answered(problem, collectives, question)
        except Exception as error:  # the leader has been told, and decides what becomes of the run
            log.warning("share_failed", process=collectives.number, exc_info=error)


def _answered(
    problem: Problem, collectives: Collectives, question: RowQuestion
) -> tuple[Tensor, ...]:
    """The answer, in the leader: each process contributes what its share of the rows adds."""
    failure: BaseException | None = None
    contribution: tuple[Tensor, ...] = ()
    try:
        contribution = _contribution(problem, collectives, question)
    except BaseException as error:  # the others must learn it before it ends this process
        failure = error
    worst, problem.parts.count = collectives.greatest([_outcome(failure), problem.parts.count])
    if failure is not None:
        raise failure
    if worst == _ANSWERED:
        for tensor in contribution:
            collectives.total(tensor)
    elif collectives.number == 0:
        why = "another process of the run failed; see its log"
        raise MemoryError(why) if worst == _LACKED_MEMORY else RuntimeError(why)
    return contribution


def _outcome(failure: BaseException | None) -> int:
    if failure is None:
        return _ANSWERED
    return _LACKED_MEMORY if is_lack_of_memory(failure) else _FAILED


def _contribution(
    problem: Problem, collectives: Collectives, question: RowQuestion
) -> tuple[Tensor, ...]:
    """What to add to the other processes' for the whole answer."""
    rows = question.rows
    shares = torch.tensor_split(rows, collectives.size)
    begin = sum(map(len, shares[: collectives.number]))
    share = shares[collectives.number]
    if len(share):
        found = answer_alone(problem, replace(question, rows=share))
        if question.kind is not QuestionKind.LOGITS:
            return tuple((mean * (len(share) / len(rows))).contiguous() for mean in found)
    whole = tuple(torch.zeros(shape, device=problem.device) for shape in _shapes(problem, question))
    if len(share):
        whole[0][:, begin : begin + len(share)] = found[0]
    return whole


def _shapes(problem: Problem, question: RowQuestion) -> tuple[tuple[int, ...], ...]:
    """The shapes of an answer's tensors."""
    count = len(question.points)
    if question.kind is QuestionKind.LOSSES:
        return ((count,),)
    if question.kind is QuestionKind.GRADIENTS:
        return (count,), tuple(question.points.shape)
    if question.kind is QuestionKind.DERIVATIVE:
        return (), ()
    classes = len(problem.task.labels) if problem.task is not None else 0
    return ((count, len(question.rows), classes),)
