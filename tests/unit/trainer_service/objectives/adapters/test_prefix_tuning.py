"""`prefix_tuning`: what a prefix starts from, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mentorgrad.domain.objective import PrefixTuning
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput
from tests.support import tiny_models
from tests.support.adapters import generator, problem_of, somewhere, written
from tests.support.numerics import built_on, objective, tiny_encoder, tiny_task
from trainer_service.control_plane.validation import validate_objective
from trainer_service.objectives.peft_files import CONFIG_FILE
from trainer_service.protocols import Objective


def made(**fields: Any) -> Objective:
    spec = PrefixTuning(**({"n_tokens": 4} | fields))
    return built_on(tiny_encoder("bert"), spec, tiny_task(), model_roots=None)


def keys(built: Objective, seed: int) -> Tensor:
    """Keys [n_tokens, width] of the first layer at the start."""
    return problem_of(built).layout.views(built.language.initial(generator(seed)))["layer.0.key"]


@pytest.mark.parametrize(("text", "words"), [("good bad", "good bad"), ("labels", "other worth")])
def test_words_are_at_the_first_positions_and_random_ones_behind(text: str, words: str) -> None:
    """Keys of the first layer depend on word and position alone."""
    size = len(tiny_encoder("bert").tokens.token_ids(words))
    first, second = (keys(made(initial_text=text, n_tokens=12), seed) for seed in range(2))
    alone = keys(made(initial_text=words, n_tokens=size), 0)
    torch.testing.assert_close(first[:size], alone)
    torch.testing.assert_close(second[:size], alone)
    assert not torch.allclose(first[size:], second[size:])


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at most 4 "):
        made(initial_text="good bad movie film plot")


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = objective("prefix_tuning")
    return written(tmp_path_factory.mktemp("runs") / "run", built, somewhere(built))


def test_another_run_is_a_start_with_its_head(prefix: Path) -> None:
    built = made(n_tokens=3, initial_text=f"peft:{prefix}")
    start = built.language.initial(generator(5))
    torch.testing.assert_close(start, somewhere(objective("prefix_tuning")))


def test_a_prefix_of_peft_is_at_the_first_positions(prefix: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(prefix, tmp_path / "other")
    (folder / "model.json").unlink()
    first = objective("prefix_tuning")
    given = problem_of(first).layout.views(somewhere(first))["layer.0.key"]
    found = keys(made(initial_text=f"peft:{folder}"), 0)
    torch.testing.assert_close(found[:3], given)
    with pytest.raises(InvalidInput, match=r"has 3 tokens; at most 2"):
        made(n_tokens=2, initial_text=f"peft:{folder}")
    config = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps(config | {"prefix_projection": True}))
    with pytest.raises(InvalidInput, match="prefix_projection"):
        made(initial_text=f"peft:{folder}")


@pytest.mark.parametrize(
    ("kind", "fields", "field", "said"),
    [
        ("distilbert", {}, "encoder", "distilbert takes no keys and values from outside"),
        ("bert", {"n_tokens": 38}, "n_tokens", "leaves 2 of 40 tokens"),
        ("bert", {"initial_text": "peft:/nowhere"}, "initial_text", "no model at /nowhere"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, kind: str, fields: dict[str, Any], field: str, said: str
) -> None:
    base = tiny_models.make(tmp_path / "base", kind)
    with pytest.raises(InvalidInput) as caught:
        validate_objective(RunSpec(objective=PrefixTuning(str(base), **fields)), model_roots=None)
    (violation,) = caught.value.violations
    assert violation.field == f"spec.objective.prefix_tuning.{field}"
    assert said in violation.description
