"""Runs of adapters: restarts without words, what is recorded, and what is kept of a failed one."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch

from mentorgrad.domain.advice import AnswerStatus
from mentorgrad.domain.event import ProposalsReceived, RestartDecided, Segment
from mentorgrad.domain.run import CandidateSource, RunState
from mentorgrad.domain.spec import Acceptance, MentorChoice, Optimizer, RunSpec, Stages
from tests.support.numerics import ADAPTERS, built_on, objective, tiny_encoder, tiny_task
from tests.unit.trainer_service.running.test_alternation import Done, parts
from trainer_service.objectives.peft_files import WEIGHTS_FILE
from trainer_service.objectives.torch_free import ARTIFACT, MODEL_FILE
from trainer_service.protocols import Objective

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_probe")]


def run(built: Objective, name: str = "lora", **fields: Any) -> Done:
    torch.set_num_threads(1)
    spec = RunSpec(
        objective=ADAPTERS[name],
        optimizer=Optimizer(batch_size=8),
        stages=Stages(count=2, steps=4, candidates=2),
        acceptance=Acceptance(finalists=1, probe_steps=2),
        **fields,
    )
    return Done(spec, parts(objective=lambda spec, check: built))


@pytest.mark.parametrize(
    "control", ["perturb", "recombine", pytest.param("random_init", marks=pytest.mark.campaign)]
)
def test_controls_propose_adapters_that_race(control: str) -> None:
    done = run(objective("lora"), mentor=MentorChoice(control, proposals=2))
    assert done.state is RunState.SUCCEEDED
    (received,) = done.all(ProposalsReceived)
    assert received.answer.status is AnswerStatus.USABLE
    (decided,) = done.all(RestartDecided)
    assert len(decided.branches) == 2
    proposed = [c for c in done.candidates() if c.source is CandidateSource.PROPOSAL]
    assert len({c.text for c in proposed}) == 2
    assert all("head=" in c.text for c in proposed), "what a candidate is, in norms"


def test_what_exceeds_a_record_is_summed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer_service.running.capture.MAX_SEGMENT_BYTES", 100)
    done = run(objective("lora"))
    segments = done.all(Segment)
    assert sum(len(segment.snapshots) for segment in segments) == 8
    assert all(segment.parameters is None for segment in segments)
    assert all("0.attention.self.query=" in s.text for part in segments for s in part.snapshots)


def test_a_run_that_diverges_keeps_what_was_good() -> None:
    built = built_on(tiny_encoder("bert"), ADAPTERS["lora"], tiny_task())
    real, left = built.problem.losses, [6]

    def losses(points: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        left[0] -= 1
        return real(points, rows) * (math.nan if left[0] < 0 else 1.0)

    built.problem.losses = losses  # type: ignore[method-assign]
    done = run(built)
    assert done.state is RunState.FAILED
    assert done.run.reason == "the training loss is nan at step 7; try a lower learning rate"
    recorded = [s.step for part in done.all(Segment) for s in part.snapshots]
    assert recorded == [1, 2, 3, 4, 5, 6]
    assert {c.step for c in done.candidates()} == {0, 2, 4}
    left = {item.name for item in done.store.artifacts(done.run_id)}
    assert {ARTIFACT, MODEL_FILE, WEIGHTS_FILE} <= left
    assert done.run.result is None, "test is not touched"
    about = json.loads(done.store.read_artifact(done.run_id, MODEL_FILE))
    assert about["text"] == done.store.list_candidates(done.run_id).candidates[0].text
