"""Settings of adapters: which numbers steps change under them, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mentorgrad.domain.objective import LabelPrompt, Lora, PrefixTuning, Xgblora
from mentorgrad.domain.spec import (
    RANDOM_SETTINGS,
    Acceptance,
    Budget,
    MentorChoice,
    Optimizer,
    Policy,
    RunSpec,
)
from mentorgrad.errors import InvalidInput
from tests.support import tiny_models
from tests.support.adapters import generator, logits_of, problem_of
from tests.support.numerics import CPU, built_on, objective, oracle, tiny_task
from trainer_service.control_plane.spec_rules import spec_violations
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.mentors.options import read_options
from trainer_service.objectives.xgblora.problem import modules_by_layer
from trainer_service.optimizers.parts import take_step
from trainer_service.optimizers.table import build_optimizer
from trainer_service.protocols import Objective

XGBLORA = Xgblora(boosters=3, booster_steps=2, layers=2)
SETTINGS = MentorChoice(RANDOM_SETTINGS)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models") / "base"
    return TextEncoder(tiny_models.make(folder, num_hidden_layers=3), CPU)


@pytest.fixture(scope="module")
def boosters(encoder: TextEncoder) -> Objective:
    return built_on(encoder, XGBLORA, tiny_task(), run=RunSpec(mentor=SETTINGS))


def changed(built: Objective, settings: dict[str, Any] | None, step: int = 0) -> dict[str, Any]:
    """What a step changes: for each tensor, which of its numbers."""
    problem = problem_of(built)
    point = built.language.initial(generator()) + 0.1
    before = point.clone()
    asked = oracle(built, torch.arange(4), passes=100)
    optimizer = build_optimizer(Optimizer(weight_decay=0.1))
    take_step(problem, optimizer, point, asked, 0.05, step, settings)
    return problem.layout.views(point != before)


def test_a_schema_says_what_may_be_proposed(boosters: Objective) -> None:
    shown = {
        name: built.language.constraints.settings_schema or {}
        for name, built in (
            ("lora", objective("lora")),
            ("prefix_tuning", objective("prefix_tuning")),
            ("xgblora", boosters),
            ("closed", objective("xgblora")),
        )
    }
    names = {name: list(schema["properties"]) for name, schema in shown.items()}
    rate = "learning_rate_factor"
    assert names == {
        "lora": [rate, "trained_rank"],
        "prefix_tuning": [rate],
        "xgblora": [rate, "layers"],
        "closed": [rate],
    }
    assert shown["lora"]["properties"]["trained_rank"]["enum"] == [1, 2]
    layers = shown["xgblora"]["properties"]["layers"]
    assert (layers["items"], layers["minItems"]) == ({"enum": [0, 1, 2]}, 2)
    assert "settings of the steps" in boosters.card.proposal


def test_a_rank_in_use_is_what_steps_train() -> None:
    built = objective("lora")
    for name, numbers in changed(built, {"trained_rank": 1}).items():
        if name.endswith("lora_A"):
            assert numbers[0].all()
            assert not numbers[1:].any()
        elif name.endswith("lora_B"):
            assert numbers[:, 0].all()
            assert not numbers[:, 1:].any()
        else:
            assert numbers.any()
    everything = changed(built, {"trained_rank": 2})
    plain = changed(built, None)
    assert all(torch.equal(everything[name], plain[name]) for name in plain)


def test_layers_that_are_named_are_those_that_a_booster_adapts(boosters: Objective) -> None:
    problem = problem_of(boosters)
    for step, booster in ((0, 0), (3, 1), (9, 2)):
        part = problem.trained_part(step, {"layers": [0, 2]})
        assert part is not None
        for name, numbers in problem.layout.views(part).items():
            if name.startswith("head."):
                assert numbers.all()
                continue
            rows = numbers.any(1) if name.endswith("lora_A") else numbers.any(0)
            chosen = [booster] if "layer.1." not in name else []
            assert rows.nonzero().flatten().tolist() == chosen
    assert problem.begins_part(2)


def test_room_for_all_layers_changes_nothing_until_some_are_named(
    encoder: TextEncoder, boosters: Objective
) -> None:
    closed = built_on(encoder, XGBLORA, tiny_task())
    small, large = closed.language.initial(generator(3)), boosters.language.initial(generator(3))
    assert large.numel() > small.numel()
    for step in range(5):
        for built, point in ((closed, small), (boosters, large)):
            problem, optimizer = problem_of(built), build_optimizer(Optimizer("sgd"))
            asked = oracle(built, torch.arange(4), passes=100)
            take_step(problem, optimizer, point, asked, 5.0, step)
    torch.testing.assert_close(
        logits_of(boosters, large, encoder), logits_of(closed, small, encoder), atol=1e-5, rtol=0
    )


def test_layers_have_the_models_numbers_where_it_has_one_stack() -> None:
    names = [f"encoder.layer.{layer}.{kind}" for layer in (2, 5) for kind in ("query", "value")]
    assert list(modules_by_layer(names)) == [2, 5]
    two = [f"{stack}.layer.0.query" for stack in ("left", "right")]
    assert modules_by_layer(two) == {0: two[:1], 1: two[1:]}
    assert modules_by_layer(["query"]) == {0: ["query"]}


@pytest.mark.parametrize("spec", [Lora(), PrefixTuning(), Xgblora()])
@pytest.mark.parametrize("name", [RANDOM_SETTINGS, "small"])
def test_a_mentor_of_settings_is_taken_by_adapters(spec: Any, name: str) -> None:
    assert not list(spec_violations(RunSpec(objective=spec, mentor=MentorChoice(name))))


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"objective": LabelPrompt()}, "mentor.name", "which label_prompt does not have"),
        ({"optimizer": Optimizer("cma")}, "optimizer.name", "in its first step only"),
        ({"acceptance": Acceptance(Policy.BEST_OF)}, "acceptance.policy", "must not be best_of"),
        ({"budget": Budget(gradient_steps=0)}, "stages.steps", "settings need gradient steps"),
        ({"mentor": MentorChoice("random_tokens")}, "mentor.name", RANDOM_SETTINGS),
    ],
)
def test_settings_without_effect_are_refused(fields: dict[str, Any], field: str, said: str) -> None:
    spec = RunSpec(**{"objective": Lora(), "mentor": SETTINGS, **fields})
    (violation, *_) = spec_violations(spec)
    assert violation.field == f"spec.{field}"
    assert said in violation.description


def test_an_option_of_random_settings_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput) as caught:
        read_options(RANDOM_SETTINGS, {"base": "best"})
    assert "has no options" in caught.value.violations[0].description
