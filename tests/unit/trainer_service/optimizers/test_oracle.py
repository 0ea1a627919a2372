"""What an optimizer asks is answered, counted, and no more than it declares."""

from __future__ import annotations

import pytest
import torch

from mentorgrad.domain.run import criterion
from mentorgrad.domain.spec import Criterion
from mentorgrad.errors import PreconditionFailed
from tests.support.numerics import function, objective, oracle
from trainer_service.costs import FORWARD, FORWARD_BACKWARD, FORWARD_MODE, RowCosts
from trainer_service.objectives.problem import Problem
from trainer_service.objectives.results import RowResults
from trainer_service.optimizers.oracle import BatchOracle
from trainer_service.protocols import Objective
from trainer_service.tasks.data import Split

ROWS = torch.tensor([0, 1, 2])
NAMES = [
    "rastrigin",
    pytest.param("label_prompt", marks=pytest.mark.slow),
    "prompt_tuning",
]


@pytest.fixture(params=NAMES)
def built(request: pytest.FixtureRequest) -> Objective:
    return objective(request.param)


def rows(built: Objective) -> torch.Tensor:
    return ROWS if built.problem.task is not None else ROWS[:1]


def point(built: Objective, seed: int = 0) -> torch.Tensor:
    return built.language.initial(torch.Generator().manual_seed(seed))


@pytest.mark.slow
def test_a_pass_is_counted_by_what_goes_through_the_model(built: Objective) -> None:
    """A function value; the six class names; the three rows."""
    each = {"function": 1, "label_prompt": 6, "prompt_tuning": 3}[built.card.objective]
    asked = oracle(built, rows(built), passes=100)
    asked.losses(torch.stack([point(built), point(built, 1)]))
    assert asked.forward_rows == 2 * FORWARD * each
    asked.gradient(point(built))
    assert asked.forward_rows == (2 * FORWARD + FORWARD_BACKWARD) * each
    asked.derivative(point(built), torch.ones_like(point(built)))
    assert asked.forward_rows == (2 * FORWARD + FORWARD_BACKWARD + FORWARD_MODE) * each


def test_losses_gradients_and_derivatives_agree(built: Objective) -> None:
    here, asked = point(built), oracle(built, rows(built), passes=100)
    direction = torch.randn(here.shape, generator=torch.Generator().manual_seed(3))
    (loss,) = asked.losses(here[None])
    same, gradient = asked.gradient(here)
    again, slope = asked.derivative(here, direction)
    assert float(same) == pytest.approx(float(loss), rel=1e-4)
    assert float(again) == pytest.approx(float(loss), rel=1e-4)
    assert float(slope) == pytest.approx(float((gradient * direction).sum()), rel=1e-2, abs=1e-4)
    assert not any(tensor.requires_grad for tensor in (loss, same, gradient, again, slope))


@pytest.mark.parametrize("by", [Criterion.LOSS, Criterion.MACRO_F1])
def test_values_are_what_the_criterion_makes_of_the_batch(by: Criterion) -> None:
    built = objective("label_prompt")
    points = torch.stack([point(built), point(built, 1)])
    plain, asked = oracle(built, ROWS, 100), oracle(built, ROWS, 100, by)
    losses, values = asked.values(points)
    assert asked.forward_rows == 2 * FORWARD * 6
    torch.testing.assert_close(losses, plain.losses(points))
    scores = built.problem.results(points, Split.TRAIN, ROWS).scores()
    assert values.tolist() == pytest.approx([criterion(score, by) for score in scores])


class Told(Problem):
    """Results that are known, of points that say which class they predict."""

    shape = (1,)
    device = torch.device("cpu")
    costs = RowCosts()

    def losses(self, points: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return points[:, 0]

    def results(
        self, points: torch.Tensor, split: Split, rows: torch.Tensor | None = None
    ) -> RowResults:
        predicted = points.nan_to_num().long().expand(-1, 4)
        return RowResults(points.expand(-1, 4), predicted, torch.ones(4, dtype=torch.int64))


@pytest.mark.parametrize("by", Criterion)
def test_a_batch_of_one_class_and_losses_that_are_not_finite_have_values(by: Criterion) -> None:
    """The task has several classes, but a small batch need not."""
    points = torch.tensor([[0.0], [1.0], [torch.nan], [torch.inf]])
    _, values = BatchOracle(Told(), ROWS, torch.Generator, 100, by=by).values(points)
    right = 1.0 if by is Criterion.LOSS else -1.0
    assert values.tolist() == [0.0, right, torch.inf, torch.inf]


def test_questions_beyond_what_is_declared_are_not_answered(built: Objective) -> None:
    asked = oracle(built, rows(built), passes=FORWARD_BACKWARD)
    asked.gradient(point(built))
    with pytest.raises(PreconditionFailed) as refused:
        asked.losses(point(built)[None])
    assert refused.value.reason == "STEP_COST_EXCEEDED"


def test_gradients_that_there_are_not_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    built = function("levy", 2)
    monkeypatch.setattr(built.problem, "has_gradients", False)
    asked = oracle(built, ROWS[:1])
    for question in (asked.gradient, lambda here: asked.derivative(here, here)):
        with pytest.raises(PreconditionFailed) as refused:
            question(point(built))
        assert refused.value.reason == "NO_GRADIENTS"
    assert asked.forward_rows == 0
    asked.losses(point(built)[None])


def test_a_gradient_computed_with_others_is_used_once_and_for_its_own_point() -> None:
    built = function("levy", 2)
    here, other = point(built), point(built, 1)
    known = (here, torch.tensor(7.0), torch.tensor([1.0, 2.0]))
    asked = BatchOracle(built.problem, ROWS[:1], torch.Generator, 100, known)
    assert float(asked.gradient(here)[0]) == 7.0
    assert float(asked.gradient(here)[0]) != 7.0
    elsewhere = BatchOracle(built.problem, ROWS[:1], torch.Generator, 100, known)
    assert float(elsewhere.gradient(other)[0]) != 7.0
