"""A training loop of somebody's own: a trainer knows of it, and will not execute it."""

from __future__ import annotations

import pytest
import torch

from mentorgrad.domain.objective import External
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput
from trainer_service.control_plane.validation import validate_objective
from trainer_service.objectives.build import build_objective

SPEC = RunSpec(objective=External("my_loop"))


def test_it_is_not_queued() -> None:
    with pytest.raises(InvalidInput) as refused:
        validate_objective(SPEC)
    assert refused.value.reason == "EXECUTED_ELSEWHERE"
    assert refused.value.violations[0].field == "spec.objective.external"


def test_it_is_not_executed() -> None:
    with pytest.raises(InvalidInput, match="does not execute external runs"):
        build_objective(SPEC, device=torch.device("cpu"))
