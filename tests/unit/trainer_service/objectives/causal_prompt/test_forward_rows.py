"""Every row through the language model is in the usage of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import Acceptance, MentorChoice, Optimizer, RunSpec, Stages
from tests.support.numerics import CAUSAL, causal
from tests.unit.trainer_service.running.test_alternation import Done, parts
from trainer_service.objectives.causal_prompt.problem import CausalPromptProblem
from trainer_service.objectives.torch_free import ARTIFACT
from trainer_service.tasks.data import Split

SPEC = RunSpec(
    optimizer=Optimizer(learning_rate=0.1, batch_size=8),
    stages=Stages(count=2, steps=4, candidates=2),
    mentor=MentorChoice("random_tokens", proposals=6),
    acceptance=Acceptance(finalists=2, probe_steps=3),
    seed=5,
)
PER_SCORE = {"causal_prompt": 48, "causal_prompt_before": 48, "causal_prompt_shown": 3}
"""Rows of each score's calibration: the train rows, or the inputs without content."""
SETUP = {"causal_prompt_before": 0, "causal_prompt_shown": 46 + 24}
"""Texts in front of the prompt: of train and selection rows, without demonstrations."""


TRIED = {
    ("causal_prompt_labels", 3),
    ("causal_prompt_before", 3),
    ("causal_prompt_shown", 1),
}

pytestmark = pytest.mark.usefixtures("without_probe")


class Counted:
    """An objective whose rows with a prompt are counted, other than those of the result."""

    def __init__(self, name: str, **fields: Any) -> None:
        labels, own = CAUSAL[name]
        built = causal(labels=labels, **own, **fields)
        assert isinstance(built.problem, CausalPromptProblem)
        self.rows = 0
        self._is_counting = True
        self._prompted = built.problem._prompted
        self._tested = built.problem.tested
        built.problem._prompted = self._count  # type: ignore[method-assign]
        built.problem.tested = self._uncounted(self._tested)  # type: ignore[method-assign]
        self.built = dataclasses.replace(built, export=lambda _: {ARTIFACT: b"-"})

    def _count(self, points: torch.Tensor, ids: Sequence[Any], *rest: Any) -> torch.Tensor:
        passes = 3 if points.requires_grad else 1
        self.rows += self._is_counting * passes * len(points) * len(ids)
        return self._prompted(points, ids, *rest)

    def _uncounted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def quiet(*given: Any) -> Any:
            self._is_counting = False
            try:
                return call(*given)
            finally:
                self._is_counting = True

        return quiet


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rounds"),
    [
        pytest.param(name, rounds, marks=() if (name, rounds) in TRIED else pytest.mark.campaign)
        for name in CAUSAL
        for rounds in (1, 3)
    ],
)
def test_every_row_through_the_model_is_counted(name: str, rounds: int) -> None:
    counted = Counted(name)
    rule = dataclasses.replace(SPEC.acceptance, screening_rounds=rounds)
    spec = dataclasses.replace(SPEC, acceptance=rule)
    done = Done(spec, parts(objective=lambda *_: counted.built))
    assert done.state is RunState.SUCCEEDED
    costs = counted.built.problem.costs
    assert (costs.per_row, costs.per_pass) == (1, 0)
    assert costs.per_score == PER_SCORE.get(name, 0)
    assert costs.setup == SETUP.get(name, 48 + 24)
    assert counted.rows + costs.setup == done.run.usage.forward_rows


@pytest.mark.slow
def test_texts_that_are_not_kept_cost_no_more_rows() -> None:
    """A row counts once whether the keys and values of its text are kept or computed anew."""
    kept, anew = Counted("causal_prompt"), Counted("causal_prompt", state_bytes=0)
    logs = [Done(SPEC, parts(objective=lambda *_, c=c: c.built)) for c in (kept, anew)]
    assert isinstance(kept.built.problem, CausalPromptProblem)
    assert isinstance(anew.built.problem, CausalPromptProblem)
    assert kept.built.problem.kept_rows[Split.TRAIN] == 48
    assert anew.built.problem.kept_rows[Split.TRAIN] == 0
    assert kept.rows == anew.rows
    assert len({log.run.usage.forward_rows for log in logs}) == 1
