"""Limits, named by their paths; and what was recorded breaks none."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mentorgrad.domain.advice import (
    Answer,
    AnswerRecord,
    Batch,
    Outcomes,
    PositionHints,
    Proposal,
    ProposalOutcome,
    ProposalRequest,
)
from mentorgrad.domain.event import (
    Branch,
    CandidatesScored,
    Finished,
    Payload,
    ProposalsReceived,
    RestartDecided,
    RunEvent,
    Segment,
    StageStarted,
    StateChanged,
)
from mentorgrad.domain.objective import Function, LabelPrompt
from mentorgrad.domain.run import Candidate, Score, Snapshot
from mentorgrad.domain.spec import Budget, MentorChoice, Optimizer, RunSpec, Task
from mentorgrad.field_limits import check, violations, within
from mentorgrad.schema import bounded
from mentorgrad.serialization import from_dict, to_dict


def paths(spec: RunSpec) -> list[str]:
    return [violation.field for violation in within("spec", violations(spec))]


def test_the_default_spec_is_valid() -> None:
    assert paths(RunSpec()) == []


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (RunSpec(optimizer=Optimizer(learning_rate=0.0)), "spec.optimizer.learning_rate"),
        (RunSpec(optimizer=Optimizer(learning_rate=-1.0)), "spec.optimizer.learning_rate"),
        (RunSpec(optimizer=Optimizer(learning_rate=float("nan"))), "spec.optimizer.learning_rate"),
        (RunSpec(optimizer=Optimizer(learning_rate=float("inf"))), "spec.optimizer.learning_rate"),
        (RunSpec(objective=Function(dimensions=0)), "spec.objective.function.dimensions"),
        (RunSpec(objective=LabelPrompt(n_tokens=65)), "spec.objective.label_prompt.n_tokens"),
        (RunSpec(objective=LabelPrompt(encoder="")), "spec.objective.label_prompt.encoder"),
        (RunSpec(budget=Budget(gradient_steps=-1)), "spec.budget.gradient_steps"),
        (RunSpec(mentor=MentorChoice(timeout=timedelta(0))), "spec.mentor.timeout"),
        (RunSpec(mentor=MentorChoice(name="two words")), "spec.mentor.name"),
        (RunSpec(task=Task(labels=("a", "a"))), "spec.task.labels"),
        (RunSpec(labels={"": "x"}), "spec.labels"),
        (RunSpec(name="a\x00b"), "spec.name"),
        (RunSpec(name="x" * 201), "spec.name"),
        (RunSpec(seed=-1), "spec.seed"),
    ],
)
def test_each_broken_limit_names_its_full_path(spec: RunSpec, field: str) -> None:
    assert paths(spec) == [field]


def test_all_broken_limits_are_named_at_once() -> None:
    spec = RunSpec(seed=-1, objective=Function(dimensions=101), name="x" * 300)
    assert set(paths(spec)) == {"spec.seed", "spec.objective.function.dimensions", "spec.name"}


LONG = "words " * 5_000
DIVERGED = Score(loss=math.nan, accuracy=math.nan, rows=3)
SNAPSHOT = Snapshot(1, math.nan, math.inf, math.inf, "a\x00" + LONG)
CANDIDATE = Candidate(
    "s0/step1",
    text=LONG,
    toward_text=LONG,
    projection_distance=math.inf,
    filled=tuple(range(4_096)),
    parents=("s0/p1",) * 4_096,
    score=DIVERGED,
)
PROPOSAL = Proposal("s0/p1", LONG, (math.nan, math.inf), rationale=LONG)
RECORD = AnswerRecord(question="q" * 1_000_000, raw_replies=("\x00" + LONG,))
OUTCOME = ProposalOutcome("s0/p1", score=DIVERGED, probe_loss=-math.inf)
RECORDED: list[Payload] = [
    StateChanged(reason=LONG),
    StageStarted(text=LONG),
    Segment(snapshots=(SNAPSHOT,)),
    CandidatesScored(candidates=(CANDIDATE,)),
    ProposalsReceived(answer=Answer("r", proposals=(PROPOSAL,), records=(RECORD,), detail=LONG)),
    RestartDecided(
        branches=(Branch("s0/step1", math.nan, math.inf),), outcomes=(OUTCOME,), reason=LONG
    ),
    Finished(error=LONG),
]


@pytest.mark.parametrize("payload", RECORDED, ids=lambda payload: type(payload).__name__)
def test_what_was_recorded_is_read_again(payload: Any) -> None:
    event = RunEvent("r", 1, 1, datetime(2024, 1, 1, tzinfo=UTC), payload)
    again = from_dict(RunEvent, json.loads(json.dumps(to_dict(event), allow_nan=False)))
    assert repr(again) == repr(event)  # NaN is equal to nothing, not even to itself


def test_a_mentor_takes_what_a_trainer_records() -> None:
    check(Batch(snapshots=(SNAPSHOT,), candidates=(CANDIDATE,)))
    check(Outcomes("r", (OUTCOME,)))
    check(ProposalRequest("r", hints=(PositionHints(0, "\x00"),)))


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (AnswerRecord(question="q" * 4_000_001), "question"),
        (Snapshot(text="q" * 100_001), "text"),
        (Candidate(candidate_id="a\x00"), "candidate_id"),
        (Candidate(filled=(0,) * 4_097), "filled"),
        (Candidate(parents=("p",) * 4_097), "parents"),
        (Proposal(parents=("p",) * 4_097), "parents"),
        (Proposal(values=(0.0,) * 10_001), "values"),
        (ProposalOutcome(detail="d" * 2_001), "detail"),
    ],
)
def test_recorded_fields_have_limits_still(value: Any, field: str) -> None:
    assert [violation.field for violation in violations(value)] == [field]


@dataclasses.dataclass(frozen=True)
class Figure:
    loss: float = bounded(0.0, ge=0.0, finite=False)


@pytest.mark.parametrize(
    ("loss", "broken"), [(math.nan, False), (math.inf, False), (-math.inf, True), (-1.0, True)]
)
def test_a_figure_that_may_diverge_keeps_its_range(loss: float, broken: bool) -> None:
    assert bool(list(violations(Figure(loss)))) is broken
