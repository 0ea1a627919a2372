"""What every optimizer promises."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mentorgrad.domain.spec import Optimizer as Spec
from mentorgrad.errors import InvalidInput
from tests.support.numerics import GivenGradient
from trainer_service.optimizers.table import OPTIMIZERS, build_optimizer
from trainer_service.protocols import Optimizer


def loss_at(parameters: Tensor) -> Tensor:
    scale = torch.arange(1.0, parameters.numel() + 1.0).view_as(parameters)
    return (scale * (parameters - 1.0) ** 2).sum()


def slope_at(parameters: Tensor) -> Tensor:
    point = parameters.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss_at(point), point)
    return gradient


def start(values: Tensor | None = None) -> Tensor:
    return torch.zeros(2, 3) if values is None else values.clone()


def steps(optimizer: Optimizer, parameters: Tensor, count: int, rate: float = 0.01) -> Tensor:
    for _ in range(count):
        given = GivenGradient(slope_at(parameters), float(loss_at(parameters)))
        norm = optimizer.step(parameters, given, rate).norm
    return norm


@pytest.fixture(params=OPTIMIZERS)
def spec(request: pytest.FixtureRequest) -> Spec:
    return Spec(name=request.param, weight_decay=0.01, clip_norm=5.0)


def test_it_descends(spec: Spec) -> None:
    parameters = start()
    before = float(loss_at(parameters))
    steps(build_optimizer(spec), parameters, 50)
    assert float(loss_at(parameters)) < before
    assert parameters.grad is None


def test_the_norm_is_that_of_the_gradient_before_clipping(spec: Spec) -> None:
    parameters = start()
    gradient = slope_at(parameters)
    norm = steps(build_optimizer(spec), parameters, 1)
    assert norm.shape == ()
    assert float(norm) == pytest.approx(float(gradient.norm()))


def test_a_restored_state_goes_on_byte_for_byte(spec: Spec) -> None:
    straight, optimizer = start(), build_optimizer(spec)
    steps(optimizer, straight, 7)
    state = optimizer.state()
    assert int(state["steps"]) == 7
    resumed, other = start(straight), build_optimizer(spec)
    other.load(state)
    assert state.keys() == other.state().keys()
    steps(optimizer, straight, 5)
    steps(other, resumed, 5)
    assert torch.equal(straight, resumed)
    for name, moment in optimizer.state().items():
        assert torch.equal(moment, other.state()[name]), name


def test_a_state_is_a_copy(spec: Spec) -> None:
    parameters, optimizer = start(), build_optimizer(spec)
    steps(optimizer, parameters, 1)
    state = optimizer.state()
    kept = {name: moment.clone() for name, moment in state.items()}
    steps(optimizer, parameters, 3)
    assert all(torch.equal(state[name], kept[name]) for name in kept)
    fresh = build_optimizer(spec)
    fresh.load(state)
    steps(fresh, start(parameters), 3)
    assert all(torch.equal(state[name], kept[name]) for name in kept)


def test_an_empty_state_resets(spec: Spec) -> None:
    parameters, optimizer = start(), build_optimizer(spec)
    assert optimizer.state() == {}
    steps(optimizer, parameters, 4)
    optimizer.load({})
    assert optimizer.state() == {}
    other = start(parameters)
    steps(optimizer, parameters, 4)
    steps(build_optimizer(spec), other, 4)
    assert torch.equal(parameters, other)


def test_parts_of_one_tensor_are_updated_as_tensors_of_their_own(spec: Spec) -> None:
    """The branches of a race lie side by side."""
    together = torch.stack([start(), start() + 3.0])
    alone = [part.clone() for part in together]
    for side, one in zip(together.unbind(), alone, strict=True):
        steps(build_optimizer(spec), side, 3)
        steps(build_optimizer(spec), one, 3)
    assert torch.equal(together, torch.stack(alone))


def test_moments_follow_to_another_tensor(spec: Spec) -> None:
    """A branch of a race goes on with the moments, on a tensor of its own."""
    straight, optimizer = start(), build_optimizer(spec)
    steps(optimizer, straight, 3)
    branch, branching = start(), build_optimizer(spec)
    steps(branching, branch, 3)
    branch = start(branch)
    steps(optimizer, straight, 3)
    steps(branching, branch, 3)
    assert torch.equal(straight, branch)


def test_anothers_state_is_refused(spec: Spec) -> None:
    with pytest.raises(InvalidInput):
        build_optimizer(spec).load({"strange": torch.zeros(1)})


def test_clipping_bounds_the_first_step_of_sgd() -> None:
    parameters = start()
    steps(build_optimizer(Spec(name="sgd", clip_norm=0.5)), parameters, 1, rate=1.0)
    assert float(parameters.norm()) == pytest.approx(0.5, rel=1e-5)


def test_decay_shrinks_without_a_gradient() -> None:
    for name in OPTIMIZERS:
        parameters = start(torch.ones(2, 3) * 4.0)
        optimizer = build_optimizer(Spec(name=name, weight_decay=0.5))
        optimizer.step(parameters, GivenGradient(torch.zeros(2, 3)), 0.1)
        assert torch.allclose(parameters, torch.full((2, 3), 4.0 * 0.95)), name


def test_an_unknown_optimizer_is_named() -> None:
    with pytest.raises(InvalidInput, match="adamw, sgd") as caught:
        build_optimizer(Spec(name="adamax"))
    assert caught.value.violations[0].field == "spec.optimizer.name"
