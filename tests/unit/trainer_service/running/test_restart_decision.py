"""Races: their branches go side by side, each as if it were alone."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import Candidate, Score
from mentorgrad.domain.spec import Acceptance, Budget, Optimizer, RunSpec
from tests.support.numerics import GivenGradient, function
from trainer_service.optimizers.schedule import learning_rate
from trainer_service.optimizers.table import build_optimizer
from trainer_service.protocols import Objective, Scored
from trainer_service.running.budget import Ledger, run_prices
from trainer_service.running.loop_state import LoopState, Origin, Pool
from trainer_service.running.restart_decision import Decision, RestartDecider
from trainer_service.running.scoring import ScoredAnswer
from trainer_service.running.stop_control import StopRequest

FUNCTION = Function("rosenbrock", 3)
STEPS = 6
SPEC = RunSpec(
    objective=FUNCTION,
    optimizer=Optimizer(learning_rate=0.03, clip_norm=2.0),
    budget=Budget(gradient_steps=100, evaluations=100),
    acceptance=Acceptance(finalists=2, probe_steps=STEPS),
)


def scored(built: Objective, name: str, *point: float) -> Scored:
    parameters = torch.tensor(point)
    (score,) = built.problem.score(parameters[None])
    return Scored(Candidate(name, score=score), parameters)


def race(spec: RunSpec) -> tuple[Decision, Ledger, list[torch.Tensor], dict[str, torch.Tensor]]:
    """Decides between an incumbent and two proposals; with their starts, the live moments."""
    built = function(FUNCTION.name, FUNCTION.dimensions)
    incumbent = scored(built, "s0/step9", 1.5, -0.5, 0.3)
    proposals = (scored(built, "p1", 0.5, 0.4, 0.1), scored(built, "p2", -0.5, 1.0, 1.5))
    live = build_optimizer(spec.optimizer)
    warmed = torch.zeros(3)
    live.step(warmed, GivenGradient(torch.tensor([1.0, -2.0, 0.5])), 0.01)
    prices = run_prices(spec, built.problem.costs, None)
    ledger = Ledger(spec.budget, prices)
    at = LoopState(
        ledger,
        incumbent.parameters.clone(),
        Origin(0, incumbent.parameters, ()),
        incumbent,
        Pool([incumbent, *proposals]),
        incumbent_id="s0/step9",
    )
    deciding = RestartDecider(
        spec, built, lambda: build_optimizer(spec.optimizer), live.state, StopRequest(), prices
    )
    decision = deciding.decide(at, ScoredAnswer(proposals, {}), ledger)
    blend = spec.acceptance.blend
    starts = [incumbent.parameters] + [
        torch.lerp(at.parameters, proposal.parameters, blend)
        for proposal in sorted(proposals, key=lambda p: p.candidate.score.loss)
    ]
    return decision, ledger, starts, live.state()


@pytest.mark.parametrize("keep_moments", [False, True])
@pytest.mark.parametrize("blend", [1.0, 0.4])
@pytest.mark.parametrize("scores", [1, 3])
def test_each_branch_goes_as_if_it_were_alone(
    keep_moments: bool, blend: float, scores: int
) -> None:
    rule = dataclasses.replace(
        SPEC.acceptance, keep_moments=keep_moments, blend=blend, probe_scores=scores
    )
    spec = dataclasses.replace(SPEC, acceptance=rule)
    decision, ledger, starts, moments = race(spec)
    built = function(FUNCTION.name, FUNCTION.dimensions)
    lows = []
    for index, start in enumerate(starts):
        point, optimizer = start.clone(), build_optimizer(spec.optimizer)
        optimizer.load(moments if keep_moments or index == 0 else {})
        losses = []
        for step in range(1, STEPS + 1):
            _, (gradient,) = built.problem.gradients(point[None], torch.zeros(1, dtype=torch.int64))
            optimizer.step(point, GivenGradient(gradient), learning_rate(spec.optimizer, step, 100))
            if step % (STEPS // scores) == 0:
                losses.append(built.problem.score(point[None])[0].loss)
        lows.append(min(losses))
    assert [branch.loss_after for branch in decision.branches] == pytest.approx(lows, rel=1e-5)
    assert decision.probed is not None
    assert decision.probed.score.loss == pytest.approx(min(lows), rel=1e-5)
    (again,) = built.problem.score(decision.probed.parameters[None])
    assert again.loss == decision.probed.score.loss
    assert ledger.usage.probe_steps == ledger.usage.gradient_steps == 3 * STEPS
    assert ledger.usage.evaluations == 3 * scores


def test_the_live_parameters_and_moments_are_never_touched() -> None:
    decision, _, starts, moments = race(SPEC)
    assert starts[0].tolist() == pytest.approx([1.5, -0.5, 0.3])
    assert int(moments["steps"]) == 1
    assert decision.probed is not None
    assert decision.probed.score != Score(0.0)
