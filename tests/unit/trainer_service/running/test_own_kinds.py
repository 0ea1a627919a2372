"""An objective and an optimizer of the tests' own: an entry in a table each, and all else works."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch

from mentorgrad.domain.event import RestartDecided
from mentorgrad.domain.objective import External, Function
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import Acceptance, Budget, MentorChoice, Optimizer, RunSpec, Stages
from mentorgrad.errors import InvalidInput
from run_store.temporary_store import TemporaryRunStore
from tests.contract.test_resume import StopsAt, create, go
from tests.support import own_objective, own_optimizer
from tests.support.effective_log import effective
from tests.unit.trainer_service.running.test_alternation import Done
from trainer_service.control_plane.spec_rules import spec_violations
from trainer_service.control_plane.validation import validate_objective
from trainer_service.objectives.table import OBJECTIVES
from trainer_service.objectives.torch_free import ARTIFACT
from trainer_service.optimizers.table import OPTIMIZERS, optimizer_kind
from trainer_service.running.stop_control import StopKind

SPEC = RunSpec(
    objective=External("bowl"),
    optimizer=Optimizer("spsa", learning_rate=0.1),
    stages=Stages(count=3, steps=12, candidates=2),
    mentor=MentorChoice("random_tokens", proposals=5),
    acceptance=Acceptance(finalists=2, probe_steps=4),
    budget=Budget(forward_rows=150),
    seed=3,
)


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    torch.set_num_threads(1)
    OBJECTIVES.add(own_objective.KIND)
    OPTIMIZERS.add(own_optimizer.KIND)
    yield
    del OBJECTIVES[own_objective.KIND.name], OPTIMIZERS[own_optimizer.KIND.name]


RATES = {
    "zo_sgd": 0.1,
    "zo_sign": 0.1,
    "zo_adam": 0.3,
    "zo_conservative": 0.3,
    "forward_grad": 0.1,
    "cma": 1.0,
}
"""Learning rates of the trainer's own optimizers without gradients, for the bowl."""
RUN_OUT = ("spsa", "zo_adam", "zo_conservative", "forward_grad", "cma")
"""Those with which a run is followed to its end; of the others it is enough that it succeeds."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in RUN_OUT else pytest.mark.campaign)
        for name in ("spsa", *RATES)
    ],
)
def test_a_run_succeeds_and_counts_what_it_costs(name: str) -> None:
    optimizer = Optimizer(name, RATES.get(name, 0.1), directions=None if name == "spsa" else 4)
    passes = optimizer_kind(optimizer).passes_of(optimizer)
    budget = Budget(forward_rows=90 + 30 * passes)
    spec = dataclasses.replace(SPEC, optimizer=optimizer, budget=budget)
    assert list(spec_violations(spec)) == []
    assert validate_objective(spec) == ""
    done = Done(spec)
    assert done.state is RunState.SUCCEEDED, done.run.reason
    usage = done.run.usage
    assert usage.forward_rows == passes * usage.gradient_steps + usage.evaluations
    assert usage.forward_rows <= budget.forward_rows
    assert usage.probe_steps > 0
    result = done.run.result
    assert result is not None
    first = done.candidates()[0]
    assert result.returned.score.loss < 0.05 * first.score.loss
    assert ARTIFACT in [item.name for item in done.store.artifacts(done.run_id)]
    assert any(decided.branches for decided in done.all(RestartDecided))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("spsa", "zo_adam") else pytest.mark.campaign)
        for name in ("spsa", *RATES)
    ],
)
def test_it_is_resumed_exactly(name: str) -> None:
    optimizer = Optimizer(name, RATES.get(name, 0.1))
    spec = dataclasses.replace(SPEC, optimizer=optimizer, budget=Budget(gradient_steps=60))
    whole, store = TemporaryRunStore(), TemporaryRunStore()
    straight = create(whole, spec)
    assert go(whole, straight, StopsAt()) is RunState.SUCCEEDED
    for stop in (14, 30):  # in a race, in a later stage
        broken = create(store, spec)
        assert go(store, broken, StopsAt(stop, StopKind.PAUSE)) is RunState.PAUSED
        assert go(store, broken, StopsAt()) is RunState.SUCCEEDED
        assert effective(store, broken) == effective(whole, straight)
        assert store.read_artifact(broken, ARTIFACT) == whole.read_artifact(straight, ARTIFACT)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.campaign if name in RUN_OUT else ())
        for name in (*OPTIMIZERS, "spsa")
    ],
)
@pytest.mark.parametrize(
    "objective",
    [External("bowl"), pytest.param(Function("ackley", 2), marks=pytest.mark.campaign)],
)
def test_every_optimizer_takes_every_objective(name: str, objective: External | Function) -> None:
    spec = dataclasses.replace(
        SPEC, objective=objective, optimizer=Optimizer(name, learning_rate=1e-3)
    )
    assert Done(spec).state is RunState.SUCCEEDED


@pytest.mark.slow
def test_an_objective_without_gradients_takes_those_that_need_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind = dataclasses.replace(own_objective.KIND, has_gradients=False)
    monkeypatch.setitem(OBJECTIVES, kind.name, kind)
    monkeypatch.setattr(own_objective.Bowl, "has_gradients", False)
    assert Done(SPEC).state is RunState.SUCCEEDED
    needy = dataclasses.replace(SPEC, optimizer=Optimizer("adamw"))
    with pytest.raises(InvalidInput) as refused:
        validate_objective(needy)
    (violation,) = refused.value.violations
    assert violation.field == "spec.optimizer.name"
    assert violation.description == (
        "adamw needs gradients, which external does not have; "
        "choose one of: zo_sgd, zo_sign, zo_adam, zo_conservative, cma, spsa"
    )
    with pytest.raises(InvalidInput, match="forward_grad needs gradients"):
        validate_objective(dataclasses.replace(SPEC, optimizer=Optimizer("forward_grad")))
    # A worker of another version, whose service let it through, says so too.
    done = Done(needy)
    assert done.state is RunState.FAILED
    assert "asks for gradients, which this objective does not have" in done.run.reason
    hinted = dataclasses.replace(SPEC, mentor=MentorChoice("hint_tokens"))
    assert [v.field for v in spec_violations(hinted)] == ["spec.mentor.name"]


def test_a_population_that_is_too_small_is_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        validate_objective(dataclasses.replace(SPEC, optimizer=Optimizer("cma", directions=3)))
    (violation,) = refused.value.violations
    assert violation.field == "spec.optimizer.directions"
    assert violation.description == "must be at least 4 for cma"


@pytest.mark.slow
def test_a_step_that_asks_for_more_than_declared_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The run ends with what was recorded, and within its limit."""
    monkeypatch.setitem(OPTIMIZERS, "spsa", dataclasses.replace(own_optimizer.KIND, passes=1))
    done = Done(SPEC)
    assert done.state is RunState.FAILED
    assert "more than the 1 forward rows that its entry" in done.run.reason
    assert [c.candidate_id for c in done.candidates()] == ["s0/start"]
    assert done.run.usage.gradient_steps == 0
