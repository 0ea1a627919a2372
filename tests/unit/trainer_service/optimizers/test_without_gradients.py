"""The optimizers without gradients, on problems whose answers are known."""

from __future__ import annotations

from collections.abc import Callable

import cmaes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mentorgrad.domain.spec import Criterion, Optimizer
from mentorgrad.errors import InvalidInput
from tests.contract.test_optimizers import PROBLEM, ROWS, Quadratic
from tests.support.numerics import function
from trainer_service.objectives.problem import Problem
from trainer_service.objectives.results import RowResults
from trainer_service.optimizers.cma import Cma, random_subspace
from trainer_service.optimizers.first_order import GradientEstimate
from trainer_service.optimizers.oracle import BatchOracle
from trainer_service.optimizers.table import build_optimizer
from trainer_service.optimizers.zeroth_order import finite_difference, forward_derivative
from trainer_service.seeds import generator
from trainer_service.tasks.data import Split

HERE = torch.tensor([[0.5, -1.0, 2.0], [0.0, 3.0, -0.5]])
(GRADIENT,) = PROBLEM.gradients(HERE[None], ROWS)[1]
ESTIMATES = pytest.mark.parametrize("make", [finite_difference, forward_derivative])


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def oracle(
    number: int = 0, problem: Problem = PROBLEM, by: Criterion = Criterion.LOSS
) -> BatchOracle:
    return BatchOracle(problem, ROWS, lambda: generator(0, number), 10**9, by=by)


def drawn(count: int, number: int = 0) -> Tensor:
    """The directions of a step."""
    return torch.randn(count, *HERE.shape, generator=generator(0, number))


@ESTIMATES
@pytest.mark.parametrize("count", [1, 3])
def test_an_estimate_is_the_gradients_projection_on_its_directions(
    make: Callable[[Optimizer], GradientEstimate], count: int
) -> None:
    """Central differences are exact on a quadratic, derivatives everywhere."""
    _, estimate = make(Optimizer(directions=count))(HERE, oracle())
    parts = [(GRADIENT * z).sum() * z for z in drawn(count)]
    torch.testing.assert_close(estimate, torch.stack(parts).mean(0), rtol=1e-3, atol=1e-2)


@pytest.mark.slow
@ESTIMATES
def test_over_many_directions_it_is_the_gradient(
    make: Callable[[Optimizer], GradientEstimate],
) -> None:
    """Each number's variance is |g|² + gᵢ² per direction."""
    count = 400
    _, estimate = make(Optimizer(directions=count))(HERE, oracle())
    spread = ((GRADIENT.norm() ** 2 + GRADIENT**2) / count).sqrt()
    assert ((estimate - GRADIENT).abs() < 4.0 * spread).all()


def test_forward_derivatives_are_exact_where_differences_are_not() -> None:
    problem, here = function("rastrigin", 3).problem, torch.tensor([0.3, -0.2, 0.1])
    (gradient,) = problem.gradients(here[None], ROWS)[1]
    z = torch.randn(3, generator=generator(0, 0))
    _, exact = forward_derivative(Optimizer())(here, oracle(problem=problem))
    torch.testing.assert_close(exact, (gradient @ z) * z)
    _, rough = finite_difference(Optimizer(perturbation=0.5))(here, oracle(problem=problem))
    assert (rough - exact).norm() > 0.1 * exact.norm()


def test_zo_sgd_is_described_by_a_seed_and_a_number() -> None:
    parameters, optimizer = HERE.clone(), build_optimizer(Optimizer("zo_sgd"))
    optimizer.step(parameters, oracle(7), 0.01)
    (z,) = drawn(1, 7)
    slope = (PROBLEM.losses(torch.stack([HERE + 0.01 * z, HERE - 0.01 * z]), ROWS)).diff() / -0.02
    torch.testing.assert_close(parameters, HERE - 0.01 * slope * z)
    assert optimizer.state().keys() == {"steps"}


def test_zo_sign_moves_every_number_by_the_learning_rate() -> None:
    parameters = HERE.clone()
    build_optimizer(Optimizer("zo_sign", clip_norm=1e-3)).step(parameters, oracle(), 0.01)
    torch.testing.assert_close((parameters - HERE).abs(), torch.full_like(HERE, 0.01))


def test_the_moments_of_zo_adam_are_those_of_the_estimate() -> None:
    parameters, optimizer = HERE.clone(), build_optimizer(Optimizer("zo_adam", directions=2))
    estimate = finite_difference(Optimizer(directions=2))
    first = second = torch.zeros_like(HERE)
    expected = HERE.clone()
    for number in (1, 2, 3):
        _, gradient = estimate(expected, oracle(number))
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        corrected = first / (1 - 0.9**number), second / (1 - 0.999**number)
        expected = expected - 0.01 * corrected[0] / (corrected[1].sqrt() + 1e-8)
        optimizer.step(parameters, oracle(number), 0.01)
        torch.testing.assert_close(parameters, expected)
    torch.testing.assert_close(optimizer.state()["exp_avg"], first)


@given(
    rate=st.floats(1e-4, 100.0),
    seed=st.integers(0, 1000),
    decay=st.sampled_from([0.0, 0.3]),
    clip=st.sampled_from([0.0, 1.0]),
)
def test_zo_conservative_never_increases_the_loss_on_the_batch(
    rate: float, seed: int, decay: float, clip: float
) -> None:
    problem = function("rastrigin", 4).problem
    parameters = torch.randn(4, generator=generator(seed))
    optimizer = build_optimizer(Optimizer("zo_conservative", weight_decay=decay, clip_norm=clip))
    before = problem.losses(parameters[None], ROWS)
    for number in range(4):
        taken = optimizer.step(parameters, oracle(number, problem), rate)
        assert taken.loss == before
        after = problem.losses(parameters[None], ROWS)
        assert after <= before
        before = after


class Steps(Quadratic):
    """A quadratic whose accuracy is the share of numbers that are positive."""

    def results(self, points: Tensor, split: Split, rows: Tensor | None = None) -> RowResults:
        losses, right = self.losses(points, ROWS), (points > 0.0).flatten(1).long()
        labels = torch.ones(6, dtype=torch.int64)
        return RowResults(losses[:, None].expand(-1, 6), right, labels)


def accuracy(parameters: Tensor) -> float:
    (score,) = Steps().results(parameters[None], Split.TRAIN).scores()
    assert score.accuracy is not None
    return score.accuracy


@pytest.mark.parametrize("name", ["zo_sgd", "zo_sign", "zo_adam", "zo_conservative", "cma"])
def test_what_has_no_gradient_is_optimised(name: str) -> None:
    """Accuracy: with a perturbation that is large enough to change it."""
    optimizer = build_optimizer(Optimizer(name, perturbation=0.5, directions=8))
    parameters = torch.full((2, 3), -0.5)
    for number in range(60):
        optimizer.step(parameters, oracle(number, Steps(), Criterion.ACCURACY), 0.1)
    assert accuracy(parameters) > 0.9


def test_of_equal_values_zo_conservative_takes_the_lowest_loss() -> None:
    parameters, problem = torch.full((2, 3), 0.5), Steps()
    optimizer = build_optimizer(Optimizer("zo_conservative", perturbation=1.0, directions=4))
    before = problem.losses(parameters[None], ROWS)
    for number in range(10):
        optimizer.step(parameters, oracle(number, problem, Criterion.ACCURACY), 0.01)
    assert accuracy(parameters) == 1.0
    assert problem.losses(parameters[None], ROWS) < before


# -- cma --------------------------------------------------------------------------------------


def test_cma_is_that_of_its_package() -> None:
    """Moving the origin to the parameters and back to a fresh search in each step."""
    parameters, optimizer = HERE.clone(), Cma(population=6, subspace=256)
    other = cmaes.CMA(HERE.flatten().double().numpy(), 0.3, population_size=6)
    for number in range(30):
        optimizer.step(parameters, oracle(number), 0.3)
        other.reseed_rng(torch.randint(2**32, (2,), generator=generator(0, number)).tolist()[0])
        asked = [other.ask() for _ in range(6)]
        points = torch.tensor(np.stack(asked), dtype=torch.float32).view(6, 2, 3)
        values = PROBLEM.losses(points, ROWS).tolist()
        other.tell(list(zip(asked, values, strict=True)))
    mean = torch.tensor(other.mean, dtype=torch.float32).view(2, 3)
    torch.testing.assert_close(parameters, mean, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "bound"), [("rosenbrock", 1e-4), ("rastrigin", 1e-2)])
def test_cma_finds_the_minimum_of(name: str, bound: float) -> None:
    problem = function(name, 2).problem
    parameters, optimizer = torch.tensor([-1.5, 2.5]), Cma(population=40, subspace=256)
    for number in range(60):
        optimizer.step(parameters, oracle(number, problem), 2.0)
    assert float(problem.losses(parameters[None], ROWS)) < bound


class Sphere(Problem):
    """A bowl of 400 numbers, more than are searched whole."""

    shape = (4, 100)
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.costs = PROBLEM.costs

    def losses(self, points: Tensor, rows: Tensor) -> Tensor:
        return (points - 1.0).square().flatten(1).mean(1)

    def results(self, points: Tensor, split: Split, rows: Tensor | None = None) -> RowResults:
        return RowResults(self.losses(points, ROWS)[:, None])


def test_beyond_300_numbers_cma_stays_in_a_subspace_that_is_not_stored() -> None:
    parameters, optimizer = torch.zeros(4, 100), Cma(population=8, subspace=16)
    seen = [parameters.flatten().clone()]
    for number in range(40):
        optimizer.step(parameters, oracle(number, Sphere()), 0.3)
        seen.append(parameters.flatten().clone())
    state = optimizer.state()
    assert max(tensor.numel() for tensor in state.values()) == 16 * 16
    basis = random_subspace(int(state["subspace_seed"]), 400, 16)
    assert torch.linalg.matrix_rank(torch.cat([basis, torch.stack(seen)]), rtol=1e-4) == 16
    # The best point of the subspace is the projection of the minimum on it.
    found = torch.linalg.lstsq(basis.T, torch.ones(400, 1)).solution
    best = float((basis.T @ found - 1.0).square().mean())
    losses = [float(Sphere().losses(parameters[None], ROWS))]
    assert best < losses[0] < 1.0 - 0.8 * (1.0 - best)

    resumed = Cma(population=8, subspace=16)
    resumed.load(state)
    random_subspace.cache_clear()
    other = parameters.clone()
    for number in range(40, 45):
        optimizer.step(parameters, oracle(number, Sphere()), 0.3)
        resumed.step(other, oracle(number, Sphere()), 0.3)
    assert torch.equal(parameters, other)


def test_cma_after_a_reset_searches_another_subspace() -> None:
    parameters, optimizer = torch.zeros(4, 100), Cma(population=8, subspace=16)
    optimizer.step(parameters, oracle(0, Sphere()), 0.3)
    first = optimizer.state()["subspace_seed"]
    optimizer.step(parameters, oracle(1, Sphere()), 0.3)
    assert optimizer.state()["subspace_seed"] == first
    optimizer.load({})
    optimizer.step(parameters, oracle(2, Sphere()), 0.3)
    assert optimizer.state()["subspace_seed"] != first


def test_a_subspace_moves_the_numbers_as_far_as_the_whole_space() -> None:
    moved = torch.randn(200, 64, generator=generator(1)) @ random_subspace(5, 1000, 64)
    assert float(moved.square().mean().sqrt()) == pytest.approx(1.0, rel=0.05)


def test_cma_ranks_points_without_a_finite_loss_last() -> None:
    class Cliff(Sphere):
        def losses(self, points: Tensor, rows: Tensor) -> Tensor:
            found = super().losses(points, rows)
            return torch.where(points.flatten(1).mean(1) > 0.0, found, torch.nan)

    parameters, optimizer = torch.zeros(4, 100), Cma(population=8, subspace=16)
    for number in range(20):
        optimizer.step(parameters, oracle(number, Cliff()), 0.3)
    assert float(Cliff().losses(parameters[None], ROWS)) < 1.0


def test_anothers_state_is_refused() -> None:
    with pytest.raises(InvalidInput, match="does not fit Cma"):
        Cma(8, 16).load({"steps": torch.tensor(1)})
