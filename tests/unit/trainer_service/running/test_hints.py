"""Hints in whole runs: who gets them, where they are computed, and what they cost."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.domain.event import ProposalsReceived, RestartDecided, Segment
from mentorgrad.domain.run import RunState, Usage
from mentorgrad.domain.spec import (
    Acceptance,
    Budget,
    MentorChoice,
    MentorMode,
    Optimizer,
    RunSpec,
    Stages,
)
from tests.support.hinted import HintedNumbers, HintReader, hinted_points
from tests.support.numerics import tiny_label_prompt
from tests.unit.trainer_service.running.test_alternation import SPEC, Done, parts
from tests.unit.trainer_service.running.test_overlapped import parts as overlapped_parts
from trainer_service.control_plane.spec_rules import spec_violations
from trainer_service.running.budget import share_spent

BASE = dataclasses.replace(SPEC, mentor=MentorChoice("small", proposals=3))


def executed(
    spec: RunSpec = BASE, mentor: HintReader | None = None
) -> tuple[Done, HintReader, HintedNumbers]:
    mentor = mentor or HintReader()
    objective, language = hinted_points()
    how = parts(mentor=lambda run, built: mentor, objective=lambda *_: objective)
    return Done(spec, how), mentor, language


def test_a_mentor_that_wants_hints_gets_one_at_the_incumbent_with_every_question() -> None:
    done, mentor, language = executed()
    assert [len(request.hints) for request in mentor.requests] == [2, 2, 2]
    known = {c.candidate_id: c.text for c in done.candidates()}
    at = [known[request.incumbent_id] for request in mentor.requests]
    assert [words.text for words in language.project(torch.stack(language.hinted_at))] == at
    usage = done.run.usage
    assert usage.hint_steps == 3
    assert usage.gradient_steps == done.run.step + usage.probe_steps + 3
    received = done.all(ProposalsReceived)
    assert [event.usage.hint_steps for event in received] == [1, 2, 3]


def test_a_mentor_that_wants_none_costs_none() -> None:
    done, mentor, language = executed(mentor=HintReader(wants=False))
    assert [request.hints for request in mentor.requests] == [()] * 3
    assert language.hinted_at == []
    assert done.run.usage.hint_steps == 0


def test_an_objective_without_tokens_gives_none() -> None:
    mentor = HintReader()
    done = Done(BASE, parts(mentor=lambda run, built: mentor))
    assert [request.hints for request in mentor.requests] == [()] * 3
    assert done.run.usage.hint_steps == 0


def test_a_budget_of_no_steps_pays_for_no_hint() -> None:
    spec = dataclasses.replace(BASE, budget=Budget(gradient_steps=0))
    done, mentor, language = executed(spec)
    assert done.state is RunState.SUCCEEDED
    assert [request.hints for request in mentor.requests] == [()] * 3
    assert language.hinted_at == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "lag"),
    [
        pytest.param(steps, lag, marks=() if row == column else pytest.mark.campaign)
        for row, steps in enumerate((15, 16, 17, 40, 73, 120))
        for column, lag in enumerate((None, 0, 4, 1000))
    ],
)
def test_hints_are_paid_out_of_the_budget(steps: int, lag: int | None) -> None:
    spec = dataclasses.replace(BASE, budget=Budget(gradient_steps=steps))
    mentor, (objective, language) = HintReader(), hinted_points()
    if lag is not None:
        choice = dataclasses.replace(spec.mentor, mode=MentorMode.OVERLAPPED)
        spec = dataclasses.replace(spec, mentor=choice)
    how = overlapped_parts(mentor, lag, objective=lambda *_: objective)
    done = Done(spec, how)
    assert done.state is RunState.SUCCEEDED
    usage = done.run.usage
    assert usage.gradient_steps == steps
    assert usage.hint_steps == len(language.hinted_at)
    if lag in (None, 0):  # otherwise some are given up before the scripted answer is made
        assert usage.hint_steps == sum(bool(request.hints) for request in mentor.requests)
    assert done.run.step + usage.probe_steps + usage.hint_steps == steps
    taken = sum(len(segment.snapshots) for segment in done.all(Segment))
    assert taken == done.run.step


def test_progress_is_the_share_of_the_budget_that_is_spent() -> None:
    spec = dataclasses.replace(BASE, budget=Budget(gradient_steps=150))
    _, mentor, _ = executed(spec)
    shares = [request.progress for request in mentor.requests]
    assert shares[0] == 15 / 150
    assert shares == sorted(shares)
    _, unlimited, _ = executed()
    assert [request.progress for request in unlimited.requests] == [0.25, 0.5, 0.75]


@given(
    steps=st.one_of(st.none(), st.just(0), st.integers(40, 200)),
    evaluations=st.one_of(st.none(), st.integers(4, 200)),
    spent=st.integers(0, 200),
    scored=st.integers(0, 200),
    each=st.integers(0, 10),
    stage=st.integers(0, 4),
)
def test_progress_is_a_share_whatever_is_limited(
    steps: int | None, evaluations: int | None, spent: int, scored: int, each: int, stage: int
) -> None:
    spec = RunSpec(stages=Stages(4, each), budget=Budget(steps, evaluations))
    usage = Usage(gradient_steps=spent, evaluations=scored)
    share = share_spent(spec, usage, stage, min(spent, 4 * each))
    assert 0.0 <= share <= 1.0
    if steps and spent >= steps:
        assert share == 1.0


@pytest.mark.slow
def test_hint_tokens_runs_on_words_and_is_refused_without() -> None:
    spec = RunSpec(
        optimizer=Optimizer(learning_rate=0.1, batch_size=8),
        stages=Stages(count=3, steps=3, candidates=2),
        mentor=MentorChoice(
            "hint_tokens", proposals=4, hint_tokens=5, options={"weight": [0.5, 1.0]}
        ),
        acceptance=Acceptance(finalists=1, probe_steps=2),
        seed=5,
    )
    done = Done(spec, parts(objective=lambda *_: tiny_label_prompt(n_tokens=3)))
    assert done.state is RunState.SUCCEEDED
    assert done.run.usage.hint_steps == 2
    for event in done.all(ProposalsReceived):
        assert [len(p.text.split()) for p in event.answer.proposals] == [3] * 4
        assert [p.weight for p in event.answer.proposals] == [0.5, 1.0, 0.5, 1.0]
    assert all(len(decided.branches) == 2 for decided in done.all(RestartDecided))
    wordless = dataclasses.replace(SPEC, mentor=MentorChoice("hint_tokens"))
    assert [v.field for v in spec_violations(wordless)] == ["spec.mentor.name"]
