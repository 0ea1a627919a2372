"""`xgblora`: one booster at a time, whatever the optimizer is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mentorgrad.domain.objective import Xgblora
from mentorgrad.domain.spec import MentorChoice, Optimizer, RunSpec, Stages
from mentorgrad.errors import InvalidInput
from tests.support import tiny_models
from tests.support.adapters import generator, problem_of
from tests.support.numerics import CPU, built_on, oracle, tiny_task
from trainer_service.control_plane.validation import validate_objective
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.objectives.xgblora.problem import draw_modules
from trainer_service.optimizers.parts import take_step
from trainer_service.optimizers.table import build_optimizer
from trainer_service.protocols import Objective

SPEC = Xgblora(boosters=4, booster_steps=2, layers=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "base"
    return tiny_models.make(folder, num_hidden_layers=3)


@pytest.fixture(scope="module")
def built(base: Path) -> Objective:
    torch.set_num_threads(1)
    return built_on(TextEncoder(base, CPU), SPEC, tiny_task())


def test_boosters_draw_layers_by_seed() -> None:
    names = [f"encoder.layer.{i}.{kind}" for i in range(5) for kind in ("query", "value")]
    spec = Xgblora(boosters=6, layers=2)
    drawn = draw_modules(spec, names, 1)
    assert drawn == draw_modules(spec, names, 1) != draw_modules(spec, names, 2)
    assert len(drawn) == 6
    for modules in drawn:
        assert len(modules) == len(set(modules)) == 4
        assert {name.replace("query", "value") for name in modules} <= {*modules}


def test_the_parts_are_disjoint_and_all_of_the_stack(built: Objective) -> None:
    problem = problem_of(built)
    parts = [problem.trained_part(step) for step in range(0, 8, 2)]
    (head,) = [part for part in problem.layout.parts if part.name == "head.weight"]
    total = torch.stack([part for part in parts if part is not None]).sum(0)[0]
    assert total[: head.offset].tolist() == [1] * head.offset
    assert total[head.offset :].tolist() == [4] * (len(total) - head.offset)
    assert [problem.begins_part(step) for step in range(10)] == [
        *(False, False, True, False, True, False, True, False, False, False)
    ]
    late = problem.trained_part(100)
    assert late is not None
    assert parts[-1] is not None
    assert torch.equal(late, parts[-1]), "the last booster takes all steps that are left"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adamw", "forward_grad"])
def test_a_step_changes_the_current_booster_alone(built: Objective, name: str) -> None:
    problem = problem_of(built)
    optimizer = build_optimizer(Optimizer(name, weight_decay=0.1))
    point = built.language.initial(generator()) + 0.1
    before = point.clone()
    take_step(problem, optimizer, point, oracle(built, torch.arange(4), passes=100), 0.05, 3)
    part = problem.trained_part(3)
    assert part is not None
    assert torch.equal(point[~part], before[~part])
    assert not torch.equal(point[part], before[part])


def test_boosters_that_have_not_begun_have_no_effect(built: Objective) -> None:
    problem = problem_of(built)
    start = built.language.initial(generator())
    views = problem.layout.views(start)
    sums: dict[str, Tensor] = {name: part for name, part in views.items() if "lora_B" in name}
    assert sums
    assert not any(bool(part.any()) for part in sums.values())


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"layers": 4}, "layers", "must be at most 3"),
        ({"target_modules": ("gate",)}, "target_modules", "no linear layer gate"),
    ],
)
def test_what_does_not_fit_the_encoder_is_refused(
    base: Path, fields: dict[str, Any], field: str, said: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        validate_objective(RunSpec(objective=Xgblora(str(base), **fields)), model_roots=None)
    (violation,) = caught.value.violations
    assert violation.field == f"spec.objective.xgblora.{field}"
    assert said in violation.description


def test_boosters_that_no_step_reaches_are_said(base: Path) -> None:
    warned: list[str] = []
    spec = RunSpec(
        objective=Xgblora(str(base), boosters=5, booster_steps=10),
        stages=Stages(count=2, steps=15),
        mentor=MentorChoice("perturb"),
    )
    validate_objective(spec, model_roots=None, warn=warned.append)
    assert "30 steps begin 3 of 5 boosters" in warned[-1]
