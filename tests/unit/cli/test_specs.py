from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.cli.support.demo_arms import ARMS, regimes
from mentorgrad.cli.support.specs import build_spec, read_json
from mentorgrad.domain.objective import Function, LabelPrompt, PromptTuning
from mentorgrad.domain.spec import Policy, RunSpec, Schedule
from mentorgrad.errors import InvalidInput
from mentorgrad.field_limits import check
from mentorgrad.presets import PRESETS, preset, preset_fields
from mentorgrad.responses import spec_differences
from mentorgrad.serialization import from_dict, to_dict
from mentorgrad.wire import codec


def _leaves(tree: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        where = f"{path}.{name}" if path else name
        if isinstance(value, dict) and value:
            yield from _leaves(value, where)
        else:
            yield where, value


@pytest.mark.parametrize(("path", "value"), list(_leaves(to_dict(RunSpec()))))
def test_every_field_can_be_set_by_its_path(path: str, value: Any) -> None:
    assert build_spec(None, {}, [f"{path}={json.dumps(value)}"]) == RunSpec()


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "spec.toml"
    file.write_text("seed = 3\n", encoding="utf-8-sig")
    assert build_spec(file, {}).seed == 3
    file.write_text('{"seed": 3}', encoding="utf-8-sig")
    assert read_json(file) == {"seed": 3}


def test_settings_beat_flags_beat_the_file(tmp_path: Path) -> None:
    file = tmp_path / "spec.toml"
    file.write_text(
        'seed = 1\nname = "from file"\nobjective = "label_prompt"\n'
        '[optimizer]\nlearning_rate = 0.1\nschedule = "cosine"\n'
    )
    spec = build_spec(
        file,
        {"seed": 2, "optimizer.learning_rate": 0.2, "name": None},
        ["optimizer.learning_rate=0.3", "objective.label_prompt.n_tokens=4"],
    )
    assert spec.seed == 2
    assert spec.name == "from file"
    assert spec.optimizer.learning_rate == 0.3
    assert spec.optimizer.schedule is Schedule.COSINE
    assert spec.objective == LabelPrompt(n_tokens=4)


def test_naming_another_objective_replaces_it(tmp_path: Path) -> None:
    file = tmp_path / "spec.toml"
    file.write_text("[objective.label_prompt]\nn_tokens = 4\n")
    spec = build_spec(
        file, {"objective.function.name": "levy"}, ["objective.function.dimensions=3"]
    )
    assert spec.objective == Function("levy", 3)


def test_naming_the_same_objective_keeps_its_fields(tmp_path: Path) -> None:
    file = tmp_path / "spec.toml"
    file.write_text("[objective.label_prompt]\nn_tokens = 4\n")
    for flags, settings in (
        ({"objective": {"label_prompt": {}}}, []),
        ({}, ["objective=label_prompt"]),
        ({}, ['objective={"label_prompt": {}}']),
    ):
        assert build_spec(file, flags, settings).objective == LabelPrompt(n_tokens=4)


def test_a_preset_is_weaker_than_all_else(tmp_path: Path) -> None:
    released = preset("maao_released")
    assert build_spec(None, {}, preset="maao_released") == released
    file = tmp_path / "spec.toml"
    file.write_text("[stages]\nsteps = 7\n[objective.prompt_tuning]\nn_tokens = 4\n")
    spec = build_spec(
        file, {"mentor.name": "small", "objective": {"prompt_tuning": {}}}, preset="maao_released"
    )
    assert isinstance(spec.objective, PromptTuning)
    assert isinstance(released.objective, PromptTuning)
    assert (spec.stages.steps, spec.stages.stride) == (7, 2)
    assert spec.objective == replace(released.objective, n_tokens=4)
    assert spec.mentor == replace(released.mentor, name="small")
    other = build_spec(None, {"objective": {"label_prompt": {}}}, preset="maao_released")
    assert other.objective == LabelPrompt()
    assert other.acceptance == released.acceptance


def test_an_unknown_preset_is_named() -> None:
    with pytest.raises(InvalidInput, match="maao_released"):
        build_spec(None, {}, preset="maoa")


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_preset_is_values_of_fields_and_nothing_else(name: str) -> None:
    spec = check(preset(name))
    assert from_dict(RunSpec, preset_fields(name)) == spec
    assert codec.decode(RunSpec, codec.encode(spec)) == spec
    assert "mentor.name" not in dict(_leaves(preset_fields(name))), "left open"


def test_plain_words_need_no_quotes() -> None:
    settings = [
        "acceptance.policy=explore",
        "mentor.timeout=90s",
        'labels={"a": "b"}',
        "labels.c=d",
    ]
    spec = build_spec(None, {}, settings)
    assert spec.acceptance.policy is Policy.EXPLORE
    assert spec.mentor.timeout == timedelta(seconds=90)
    assert spec.labels == {"a": "b", "c": "d"}


def test_a_broken_file_is_named_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "spec.toml"
    file.write_text("seed = \n")
    with pytest.raises(InvalidInput, match=r"spec\.toml: .*line 1"):
        build_spec(file, {})


def test_the_demo_s_arms_differ_in_who_proposes_and_in_nothing_else() -> None:
    for regime in regimes():
        specs = [check(regime.arm_spec(arm, seed=5)) for arm in ARMS]
        differing = {item.field for item in spec_differences(specs)}
        assert differing == {"mentor.name", "name", "labels.arm"}
        assert {spec.seed for spec in specs} == {5}
