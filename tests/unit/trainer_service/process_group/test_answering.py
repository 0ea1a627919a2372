"""Several processes give the answers of one, here as threads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.support.numerics import CPU, objective
from tests.support.thread_group import together
from trainer_service.costs import RowCosts
from trainer_service.objectives.problem import Problem
from trainer_service.objectives.results import RowResults
from trainer_service.objectives.row_parts import RowParts
from trainer_service.tasks.data import Split

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
OBJECTIVES = [
    *("label_prompt_tiny", "prompt_tuning", "lora", "causal_prompt", "causal_prompt_before"),
    *(
        pytest.param(name, marks=pytest.mark.campaign)
        for name in ("prefix_tuning", "xgblora", "multiple_choice")
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize(
    "rows",
    [5, pytest.param(2, marks=pytest.mark.campaign)],
    ids=["shares of 2, 2 and 1", "shares of 1, 1 and none"],
)
def test_three_processes_answer_as_one(name: str, rows: int) -> None:
    """To the bit, if that one divides its steps in three parts."""
    built = objective(name)
    problem, batch = built.problem, torch.arange(rows) * 3
    points = torch.stack([built.language.initial(torch.Generator().manual_seed(s)) for s in (0, 1)])

    def answers() -> list[Tensor]:
        losses, slopes = problem.gradients(points, batch)
        results = problem.results(points, Split.SELECTION)
        assert results.predicted is not None
        return [
            *(losses, slopes, problem.mean_losses(points, batch)),
            *problem.derivative(points[0], points[1], batch),
            *(results.losses, results.predicted),
            problem.results(points, Split.TRAIN, batch).losses,
        ]

    alone = answers()
    problem.parts.count = 3
    in_parts = answers()
    problem.parts.count = 1
    with together(problem, problem, problem):
        assert built.devices == ("cpu",) * 3
        divided = answers()
    for one, all_of_them in zip(alone, divided, strict=True):
        torch.testing.assert_close(all_of_them, one, **CLOSE)
    assert all(map(torch.equal, in_parts[:2], divided[:2])), "losses and gradients"


class Told(Problem):
    """The mean row number, if there is memory for so many rows; fails at some rows."""

    shape = (2,)
    device = CPU
    costs = RowCosts(per_row=1)

    def __init__(self, most: int = 9, bad: int = -1, error: Exception | None = None) -> None:
        self.asked: list[list[int]] = []
        self._most, self._bad, self._error = most, bad, error
        self.parts = RowParts(doubles=True)

    def losses(self, points: Tensor, rows: Tensor) -> Tensor:
        self.asked.append(rows.tolist())
        if len(rows) > self._most:
            raise MemoryError
        if self._error is not None and self._bad in rows:
            raise self._error
        return points.sum(1) + rows.float().mean()

    def results(self, points: Tensor, split: Split, rows: Tensor | None = None) -> RowResults:
        raise NotImplementedError


POINTS = torch.zeros(1, 2)


def test_each_process_computes_its_share() -> None:
    problems = Told(), Told()
    with together(*problems):
        assert problems[0].mean_losses(POINTS, torch.arange(5)).tolist() == [2.0]
        assert problems[0].mean_losses(POINTS, torch.tensor([7])).tolist() == [7.0]
        assert problems[0].mean_losses(POINTS, torch.arange(0)).isnan().all()
    assert problems[0].asked == [[0, 1, 2], [7], []]
    assert problems[1].asked == [[3, 4]]


def test_a_process_that_lacks_memory_divides_the_shares_of_all() -> None:
    problems = Told(), Told(most=1)
    with together(*problems):
        for _ in range(2):
            assert problems[0].mean_losses(POINTS, torch.arange(4)).tolist() == [1.5]
    assert problems[0].parts.count == problems[1].parts.count == 2
    assert problems[0].asked == [[0, 1], [0], [1]]


@pytest.mark.parametrize(
    ("mine", "theirs", "error"),
    [
        (None, KeyError("theirs"), RuntimeError),
        (None, RuntimeError("CUDA out of memory"), MemoryError),
        (KeyError("mine"), RuntimeError("CUDA out of memory"), KeyError),
    ],
)
def test_a_share_that_fails_fails_the_answer_and_the_next_one_is_given(
    mine: Exception | None, theirs: Exception, error: type[Exception]
) -> None:
    problems = Told(bad=0, error=mine), Told(bad=1, error=theirs)
    problems[1].parts = RowParts()
    with together(*problems):
        with pytest.raises(error):
            problems[0].mean_losses(POINTS, torch.tensor([0, 1]))
        assert problems[0].mean_losses(POINTS, torch.tensor([2, 3])).tolist() == [2.5]
