"""What every optimizer promises."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from mentorgrad.domain.spec import Optimizer as Spec
from mentorgrad.errors import InvalidInput
from tests.support import own_optimizer
from tests.support.numerics import CUDA, GivenGradient
from trainer_service.costs import RowCosts
from trainer_service.objectives.problem import Problem
from trainer_service.objectives.results import RowResults
from trainer_service.optimizers.kinds import OptimizerKind
from trainer_service.optimizers.oracle import BatchOracle, branch_oracles
from trainer_service.optimizers.table import OPTIMIZERS, build_optimizer
from trainer_service.protocols import Optimizer
from trainer_service.registry import load
from trainer_service.seeds import generator
from trainer_service.tasks.data import Split

ROWS = torch.zeros(1, dtype=torch.int64)
KINDS = [*OPTIMIZERS.values(), own_optimizer.KIND]


class Quadratic(Problem):
    """The loss that all of them descend."""

    shape = (2, 3)
    device = torch.device("cpu")
    costs = RowCosts(per_row=0, per_pass=1)

    def losses(self, points: Tensor, rows: Tensor) -> Tensor:
        scale = torch.arange(1.0, 7.0, device=points.device).view(2, 3)
        return (scale * (points - 1.0) ** 2).flatten(1).sum(1)

    def results(self, points: Tensor, split: Split, rows: Tensor | None = None) -> RowResults:
        return RowResults(self.losses(points, ROWS)[:, None])


class Scaled(Quadratic):
    """The same in parameters that are 1/32 as large."""

    unit = 1.0 / 32.0

    def losses(self, points: Tensor, rows: Tensor) -> Tensor:
        return super().losses(points / self.unit, rows)


PROBLEM = Quadratic()


def loss_at(parameters: Tensor) -> float:
    return float(PROBLEM.losses(parameters[None], ROWS))


def start(values: Tensor | None = None) -> Tensor:
    return torch.zeros(2, 3) if values is None else values.clone()


class Made:
    """Optimizers of one kind."""

    def __init__(self, kind: OptimizerKind) -> None:
        self.kind = kind
        self.spec = Spec(name=kind.name, weight_decay=0.01, clip_norm=5.0)
        self.passes = kind.passes_of(self.spec)

    def fresh(self) -> Optimizer:
        made: Optimizer = load(self.kind.build)(self.spec)
        return made

    def oracle(self, number: int, problem: Problem = PROBLEM) -> BatchOracle:
        """The oracle of a step, by its number."""
        return BatchOracle(problem, ROWS, lambda: generator(0, number), self.passes)

    def steps(self, optimizer: Optimizer, parameters: Tensor, count: int, first: int = 0) -> Tensor:
        for number in range(first, first + count):
            taken = optimizer.step(parameters, self.oracle(number), 0.01)
        return taken.norm


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def made(request: pytest.FixtureRequest) -> Made:
    return Made(request.param)


def test_it_descends(made: Made) -> None:
    parameters = start()
    before = loss_at(parameters)
    made.steps(made.fresh(), parameters, 50)
    assert loss_at(parameters) < before
    assert parameters.grad is None


def test_a_step_says_the_loss_and_a_norm_and_asks_for_no_more_than_is_declared(
    made: Made,
) -> None:
    parameters, oracle = start(), made.oracle(0)
    taken = made.fresh().step(parameters, oracle, 0.01)
    assert taken.loss.shape == taken.norm.shape == ()
    # Some give the mean over the points that they asked about.
    assert float(taken.loss) == pytest.approx(21.0, rel=3e-3)
    assert float(taken.norm) > 0.0
    assert 0 < oracle.forward_rows <= made.passes


def test_a_restored_state_goes_on_byte_for_byte(made: Made) -> None:
    straight, optimizer = start(), made.fresh()
    made.steps(optimizer, straight, 7)
    state = optimizer.state()
    assert int(state["steps"]) == 7
    resumed, other = start(straight), made.fresh()
    other.load(state)
    assert state.keys() == other.state().keys()
    made.steps(optimizer, straight, 5, first=7)
    made.steps(other, resumed, 5, first=7)
    assert torch.equal(straight, resumed)
    for name, moment in optimizer.state().items():
        assert torch.equal(moment, other.state()[name]), name


def test_a_state_is_a_copy(made: Made) -> None:
    parameters, optimizer = start(), made.fresh()
    made.steps(optimizer, parameters, 1)
    state = optimizer.state()
    kept = {name: moment.clone() for name, moment in state.items()}
    made.steps(optimizer, parameters, 3)
    assert all(torch.equal(state[name], kept[name]) for name in kept)
    fresh = made.fresh()
    fresh.load(state)
    made.steps(fresh, start(parameters), 3)
    assert all(torch.equal(state[name], kept[name]) for name in kept)


def test_an_empty_state_resets(made: Made) -> None:
    parameters, optimizer = start(), made.fresh()
    assert optimizer.state() == {}
    made.steps(optimizer, parameters, 4)
    optimizer.load({})
    assert optimizer.state() == {}
    other = start(parameters)
    made.steps(optimizer, parameters, 4)
    made.steps(made.fresh(), other, 4)
    assert torch.equal(parameters, other)


def test_branches_side_by_side_step_as_if_each_were_alone(made: Made) -> None:
    """As in a race: they lie in one tensor, and gradients are computed together."""
    together = torch.stack([start(), start() + 3.0])
    alone = [part.clone() for part in together]
    branches, optimizers = together.unbind(), [made.fresh() for _ in alone]
    for number in range(3):
        draws = lambda number=number: generator(0, number)  # noqa: E731
        oracles = branch_oracles(
            PROBLEM, ROWS, draws, made.passes, branches, is_first_order=made.kind.is_first_order
        )
        for branch, optimizer, oracle in zip(branches, optimizers, oracles, strict=True):
            optimizer.step(branch, oracle, 0.01)
            assert 0 < oracle.forward_rows <= made.passes
    for one in alone:
        made.steps(made.fresh(), one, 3)
    torch.testing.assert_close(together, torch.stack(alone))


def test_the_scale_of_the_parameters_makes_no_difference(made: Made) -> None:
    """Learning rates and perturbations are relative to the objective's unit."""
    made.spec = dataclasses.replace(made.spec, weight_decay=0.0)
    parameters, optimizer = start(), made.fresh()
    scaled, other, problem = start(), made.fresh(), Scaled()
    for number in range(5):
        taken = optimizer.step(parameters, made.oracle(number), 0.01)
        again = other.step(scaled, made.oracle(number, problem), 0.01 * problem.unit)
        torch.testing.assert_close(again.loss, taken.loss)
    torch.testing.assert_close(scaled / problem.unit, parameters)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA device")
def test_on_a_device_the_steps_are_those_on_the_cpu(made: Made) -> None:
    here, there = start(), start().to(CUDA)
    made.steps(made.fresh(), here, 5)
    made.steps(made.fresh(), there, 5)
    torch.testing.assert_close(there.cpu(), here, rtol=1e-3, atol=1e-4)


def test_moments_follow_to_another_tensor(made: Made) -> None:
    """A branch of a race goes on with the moments, on a tensor of its own."""
    straight, optimizer = start(), made.fresh()
    made.steps(optimizer, straight, 3)
    branch, branching = start(), made.fresh()
    made.steps(branching, branch, 3)
    branch = start(branch)
    made.steps(optimizer, straight, 3, first=3)
    made.steps(branching, branch, 3, first=3)
    assert torch.equal(straight, branch)


# -- first order ------------------------------------------------------------------------------


@pytest.fixture(params=[name for name, kind in OPTIMIZERS.items() if kind.is_first_order])
def spec(request: pytest.FixtureRequest) -> Spec:
    return Spec(name=request.param, weight_decay=0.01, clip_norm=5.0)


def test_the_norm_is_that_of_the_gradient_before_clipping(spec: Spec) -> None:
    parameters = start()
    (gradient,) = PROBLEM.gradients(parameters[None], ROWS)[1]
    taken = build_optimizer(spec).step(parameters, GivenGradient(gradient), 0.01)
    assert float(taken.norm) == pytest.approx(float(gradient.norm()))
    assert float(taken.norm) > spec.clip_norm


def test_anothers_state_is_refused(spec: Spec) -> None:
    with pytest.raises(InvalidInput):
        build_optimizer(spec).load({"strange": torch.zeros(1)})


def test_clipping_bounds_the_first_step_of_sgd() -> None:
    parameters, gradient = start(), torch.full((2, 3), -9.0)
    sgd = build_optimizer(Spec(name="sgd", clip_norm=0.5))
    sgd.step(parameters, GivenGradient(gradient), 1.0)
    assert float(parameters.norm()) == pytest.approx(0.5, rel=1e-5)


def test_decay_shrinks_without_a_gradient(spec: Spec) -> None:
    parameters = start(torch.ones(2, 3) * 4.0)
    optimizer = build_optimizer(dataclasses.replace(spec, weight_decay=0.5))
    optimizer.step(parameters, GivenGradient(torch.zeros(2, 3)), 0.1)
    assert torch.allclose(parameters, torch.full((2, 3), 4.0 * 0.95))


def test_an_unknown_optimizer_is_named() -> None:
    with pytest.raises(InvalidInput, match="adamw, sgd") as caught:
        build_optimizer(Spec(name="adamax"))
    assert caught.value.violations[0].field == "spec.optimizer.name"
