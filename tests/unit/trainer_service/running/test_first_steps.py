"""The mentor is asked before the first step, or there are no steps at all."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest

from mentorgrad.domain.advice import Proposal
from mentorgrad.domain.event import (
    CandidatesScored,
    ProposalsReceived,
    RestartDecided,
    Segment,
    StageStarted,
)
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import (
    Acceptance,
    Budget,
    MentorChoice,
    MentorMode,
    Policy,
    RunSpec,
    Stages,
)
from tests.unit.trainer_service.running.test_alternation import SPEC, Done, Scripted, with_mentor
from tests.unit.trainer_service.running.test_overlapped import Points
from tests.unit.trainer_service.running.test_overlapped import parts as overlapped_parts
from trainer_service.control_plane.spec_rules import spec_violations
from trainer_service.objectives.torch_free import ARTIFACT

pytestmark = pytest.mark.slow

FIRST = dataclasses.replace(SPEC, stages=Stages(count=3, steps=10, candidates=2, first_steps=0))
RACED = dataclasses.replace(
    FIRST, acceptance=dataclasses.replace(SPEC.acceptance, first=Policy.RACE)
)
TRIED = (Policy.RACE, Policy.EXPLORE)
ALONE = dataclasses.replace(SPEC, stages=Stages(count=4, steps=0, candidates=3))


def test_the_mentor_is_asked_about_the_start_before_the_first_step() -> None:
    mentor = Scripted([Proposal("a", "0.1 0.1")], [Proposal("b", "2 2")])
    done = with_mentor(mentor, RACED)
    assert done.state is RunState.SUCCEEDED
    assert [r.incumbent_id for r in mentor.requests] == ["s0/start", "s1/step10"]
    assert [(s.stage, s.step) for s in done.all(StageStarted)] == [(0, 0), (1, 0), (2, 10)]
    first = done.all(RestartDecided)[0]
    assert first.restarted
    assert [branch.candidate_id for branch in first.branches] == ["s0/start", "a"]
    usage = done.run.usage
    assert done.run.step == 20
    assert usage.gradient_steps == 20 + usage.probe_steps
    ids = [c.candidate_id for c in done.candidates()]
    assert len(set(ids)) == len(ids)
    assert ids[:2] == ["s0/start", "a"], "nothing is scored twice"


def test_a_first_stage_may_be_short() -> None:
    spec = dataclasses.replace(FIRST, stages=Stages(count=3, steps=10, first_steps=3))
    done = Done(spec)
    assert [(s.stage, s.step) for s in done.all(StageStarted)] == [(0, 0), (1, 3), (2, 13)]
    assert done.run.step == 23


@pytest.mark.parametrize("name", ["none", "random_tokens"])
def test_arms_that_begin_by_asking_take_equally_many_steps(name: str) -> None:
    spec = dataclasses.replace(
        FIRST,
        mentor=MentorChoice(name, proposals=4),
        budget=Budget(gradient_steps=73, evaluations=40),
    )
    done = Done(spec)
    assert done.run.usage.gradient_steps == 73
    assert done.run.usage.evaluations <= 40


def test_asked_before_the_first_step_an_overlapped_run_goes_on_meanwhile() -> None:
    choice = MentorChoice("small", proposals=4, mode=MentorMode.OVERLAPPED)
    mentor = Points()
    spec = dataclasses.replace(FIRST, mentor=choice)
    done = Done(spec, overlapped_parts(mentor, lag=4))
    assert [r.incumbent_id for r in mentor.requests] == ["s0/start", "s1/step14"]
    assert [d.incumbent_id for d in done.all(RestartDecided)] == ["s0/step4", "s1/step18"]
    assert done.run.step == 20
    assert done.run.usage.lag_steps == 8


# -- the first restart, before anything is trained --------------------------------------------


def test_before_the_first_step_the_best_proposal_is_taken_and_later_ones_race() -> None:
    mentor = Scripted([Proposal("a", "3 3"), Proposal("b", "2.6 2.6")], [Proposal("c", "1 1")])
    done = with_mentor(mentor, FIRST)
    first, second = done.all(RestartDecided)
    assert (first.policy, second.policy) == (Policy.ALWAYS, Policy.RACE)
    losses = {c.candidate_id: c.score.loss for c in done.candidates()}
    assert (first.restarted, first.chosen_id) == (True, min("ab", key=losses.__getitem__))
    assert all(branch.loss_after is None for branch in first.branches)
    assert [branch.loss_after is not None for branch in second.branches] == [True, True]
    assert done.run.usage.probe_steps == 2 * SPEC.acceptance.probe_steps


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(policy, marks=() if policy in TRIED else pytest.mark.campaign)
        for policy in Policy
    ],
)
def test_the_policy_of_the_first_restart_is_the_specs(policy: Policy) -> None:
    rule = dataclasses.replace(FIRST.acceptance, policy=Policy.BEST_OF, first=policy)
    done = Done(dataclasses.replace(FIRST, acceptance=rule))
    decided = done.all(RestartDecided)
    assert [d.policy for d in decided] == [policy, Policy.BEST_OF]
    raced = policy is Policy.RACE
    assert [b.loss_after is not None for b in decided[0].branches] == [raced] * len(
        decided[0].branches
    )


@pytest.mark.parametrize("stages", [SPEC.stages, Stages(count=3, steps=10, first_steps=1)])
def test_a_first_stage_with_steps_is_decided_as_all_are(stages: Stages) -> None:
    done = Done(dataclasses.replace(SPEC, stages=stages))
    assert {d.policy for d in done.all(RestartDecided)} == {Policy.RACE}


def test_an_overlapped_first_restart_does_not_depend_on_how_late_the_answer_is() -> None:
    choice = MentorChoice("small", proposals=4, mode=MentorMode.OVERLAPPED)
    spec = dataclasses.replace(FIRST, mentor=choice)
    for lag in (0, 4):
        done = Done(spec, overlapped_parts(Points(), lag=lag))
        assert [d.policy for d in done.all(RestartDecided)] == [Policy.ALWAYS, Policy.RACE]


def test_a_start_better_than_all_proposals_is_left_but_returned() -> None:
    start = Done(ALONE).candidates()[0]
    worse = [Proposal(str(n), f"{4.5 + n / 10} 4.5") for n in range(3)]
    done = with_mentor(Scripted(*([p] for p in worse)), ALONE)
    decided = done.all(RestartDecided)
    assert [d.policy for d in decided] == [Policy.ALWAYS, Policy.RACE, Policy.RACE]
    assert decided[0].restarted
    assert start.score.loss < min(c.score.loss for c in done.candidates()[1:])
    assert done.run.result is not None
    assert done.run.result.returned == start


# -- without any steps ------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [policy for policy in Policy if policy is not Policy.FIRST])
def test_without_steps_every_stage_asks_and_the_best_is_returned(policy: Policy) -> None:
    rule = Acceptance(policy=policy, finalists=2, probe_steps=6, first=policy)
    done = Done(dataclasses.replace(ALONE, acceptance=rule))
    assert done.state is RunState.SUCCEEDED
    assert len(done.all(ProposalsReceived)) == 3
    assert done.all(Segment) == []
    usage = done.run.usage
    assert (usage.gradient_steps, usage.probe_steps) == (0, 0)
    assert usage.evaluations == 1 + 3 * 8
    decided = done.all(RestartDecided)
    known = {c.candidate_id: c for c in done.candidates()}
    for before, after in itertools.pairwise(decided):
        assert after.incumbent_id == before.chosen_id, "each goes on from what was chosen"
    if policy in (Policy.RACE, Policy.BEST_OF):
        losses = [known[d.chosen_id].score.loss for d in decided]
        assert losses == sorted(losses, reverse=True)
        for d in decided:
            assert known[d.chosen_id].score.loss <= known[d.incumbent_id].score.loss
    if policy is Policy.ALWAYS:
        assert all(d.restarted for d in decided)
    assert done.run.result is not None
    assert done.run.result.returned == min(known.values(), key=lambda c: c.score.loss)


def test_a_blended_restart_without_steps_is_scored_before_it_is_an_incumbent() -> None:
    rule = Acceptance(policy=Policy.ALWAYS, blend=0.5)
    done = Done(dataclasses.replace(ALONE, acceptance=rule))
    decided = done.all(RestartDecided)
    assert [d.incumbent_id for d in decided] == ["s0/start", "s1/start", "s2/start"]
    assert done.candidates()[-1].candidate_id == "s3/start"
    assert done.run.usage.evaluations == 1 + 3 * (8 + 1)


@pytest.mark.parametrize(
    ("stages", "limits"),
    [
        (Stages(count=4, steps=15, candidates=3), {}),
        (ALONE.stages, {"evaluations": 20}),
        (Stages(count=4, steps=15, candidates=3), {"forward_rows": 40}),
    ],
)
def test_a_budget_of_no_steps_is_a_run_without_steps(stages: Stages, limits: Any) -> None:
    spec = dataclasses.replace(ALONE, stages=stages, budget=Budget(gradient_steps=0, **limits))
    assert list(spec_violations(spec)) == []
    done = Done(spec)
    assert done.state is RunState.SUCCEEDED
    unlimited = Done(dataclasses.replace(ALONE, budget=Budget(**limits)))
    assert done.candidates() == unlimited.candidates()
    assert len(done.all(ProposalsReceived)) == len(unlimited.all(ProposalsReceived)) > 1
    assert done.all(Segment) == []
    usage = done.run.usage
    assert (done.run.step, usage.gradient_steps, usage.probe_steps) == (0, 0, 0)
    assert done.run.result is not None
    assert done.run.result.returned == min(done.candidates(), key=lambda c: c.score.loss)
    assert ARTIFACT in {artifact.name for artifact in done.store.artifacts(done.run_id)}


def test_with_a_budget_of_no_steps_an_overlapped_run_waits_too() -> None:
    choice = MentorChoice("small", proposals=4, mode=MentorMode.OVERLAPPED)
    spec = dataclasses.replace(FIRST, mentor=choice, budget=Budget(gradient_steps=0))
    mentor = Points()
    done = Done(spec, overlapped_parts(mentor, lag=5))
    assert [r.request_id for r in mentor.requests] == ["s0", "s1"]
    assert [r.progress for r in mentor.requests] == [0.0, pytest.approx(1 / 3)]
    assert done.run.usage.lag_steps == 0


@pytest.mark.slow
@pytest.mark.parametrize("evaluations", [2, 10, 25])
def test_without_steps_every_evaluation_is_counted(evaluations: int) -> None:
    done = Done(dataclasses.replace(ALONE, budget=Budget(evaluations=evaluations)))
    scored = [c for p in done.all(CandidatesScored) for c in p.candidates]
    assert done.run.usage.evaluations == len(scored) <= evaluations
    assert len(done.all(RestartDecided)) == 3


def test_steps_that_a_budget_gives_are_taken_by_the_last_stage() -> None:
    rule = Acceptance(policy=Policy.BEST_OF)
    spec = dataclasses.replace(ALONE, acceptance=rule, budget=Budget(gradient_steps=30))
    done = Done(spec)
    assert [s.step for s in done.all(StageStarted)] == [0, 0, 0, 0]
    assert done.run.step == 30


def test_a_race_at_the_end_of_the_budget_compares_scores() -> None:
    spec = dataclasses.replace(
        SPEC, stages=Stages(count=4, steps=15, candidates=3), budget=Budget(gradient_steps=16)
    )
    done = Done(spec)
    (decided,) = done.all(RestartDecided)
    assert decided.reason.startswith("no gradient steps are left for a race: lowest")
    known = {c.candidate_id: c.score.loss for c in done.candidates()}
    assert known[decided.chosen_id] == min(known[b.candidate_id] for b in decided.branches)
    assert all(branch.loss_after is None for branch in decided.branches)
    assert done.run.usage.gradient_steps == 16


def test_an_overlapped_run_without_steps_waits_for_its_answers() -> None:
    choice = MentorChoice("small", proposals=4, mode=MentorMode.OVERLAPPED)
    mentor = Points()
    done = Done(dataclasses.replace(ALONE, mentor=choice), overlapped_parts(mentor, lag=5))
    assert [r.request_id for r in mentor.requests] == ["s0", "s1", "s2"]
    assert done.run.usage.lag_steps == 0


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        (dataclasses.replace(ALONE, mentor=MentorChoice("none")), True),
        (dataclasses.replace(ALONE, stages=Stages(count=1, steps=0)), True),
        (dataclasses.replace(ALONE, stages=Stages(count=1, first_steps=0)), True),
        (ALONE, False),
        (
            dataclasses.replace(
                ALONE, mentor=MentorChoice("none"), budget=Budget(gradient_steps=10)
            ),
            False,
        ),
        (dataclasses.replace(FIRST, mentor=MentorChoice("none")), False),
    ],
)
def test_a_run_that_would_do_nothing_is_refused(spec: RunSpec, wrong: bool) -> None:
    assert [v.field for v in spec_violations(spec)] == ["spec.stages.steps"] * wrong


@pytest.mark.parametrize(
    "change", [{"mentor": MentorChoice("none")}, {"stages": Stages(count=1)}], ids=["none", "one"]
)
def test_a_budget_of_no_steps_needs_a_mentor_and_a_stage_to_ask_it_after(change: Any) -> None:
    spec = dataclasses.replace(SPEC, budget=Budget(gradient_steps=0), **change)
    assert [v.field for v in spec_violations(spec)] == ["spec.budget.gradient_steps"]
