"""The tables of objectives and optimizers."""

from __future__ import annotations

import pytest

from mentorgrad.domain.objective import External, Function
from mentorgrad.errors import InvalidInput
from tests.support import own_objective, own_optimizer
from trainer_service.objectives.table import OBJECTIVES, kind_of
from trainer_service.optimizers.table import OPTIMIZERS
from trainer_service.registry import Registry, load


def test_a_taken_name_is_refused_where_it_is_registered() -> None:
    table = Registry(own_optimizer.KIND)
    with pytest.raises(ValueError, match="'spsa' is taken"):
        table.add(own_optimizer.KIND)
    with pytest.raises(ValueError, match="'external' is taken"):
        Registry(own_objective.KIND, own_objective.KIND)


@pytest.mark.parametrize("kind", [*OBJECTIVES.values(), *OPTIMIZERS.values()], ids=lambda k: k.name)
def test_every_entry_names_something_that_builds(kind: object) -> None:
    assert callable(load(kind.build))  # type: ignore[attr-defined]


def test_an_objective_is_found_by_its_spec() -> None:
    assert kind_of(Function()).path == "spec.objective.function"
    with pytest.raises(InvalidInput) as refused:
        kind_of(External("my_loop"))
    assert refused.value.violations[0].field == "spec.objective.external"


def test_the_table_says_what_the_objectives_are() -> None:
    from tests.support.numerics import objective

    for name, built in (
        ("function", objective("levy")),
        ("label_prompt", objective("label_prompt")),
        ("prompt_tuning", objective("prompt_tuning")),
    ):
        kind = OBJECTIVES[name]
        assert kind.has_words == built.language.has_words
        assert kind.has_gradients == built.problem.has_gradients
        assert kind.uses_task == (built.problem.task is not None)
        assert built.card.objective == name
