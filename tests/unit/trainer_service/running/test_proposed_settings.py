"""Restarts by settings: what takes effect is within the schema, raced, recorded and told."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.domain.advice import (
    Answer,
    Proposal,
    ProposalRequest,
    ProposalStatus,
)
from mentorgrad.domain.event import ProposalsReceived, RestartDecided, Segment
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import Candidate, CandidateSource, RunState, Score
from mentorgrad.domain.spec import (
    RANDOM_SETTINGS,
    Acceptance,
    MentorChoice,
    Optimizer,
    Policy,
    RunSpec,
    Stages,
)
from mentorgrad.settings_space import Setting, SettingsSpace
from tests.support.numerics import CPU, function
from tests.unit.trainer_service.running.test_alternation import Done, Scripted, parts
from trainer_service.mentors.controls import build_control
from trainer_service.objectives.adapters.language import AdapterLanguage
from trainer_service.objectives.adapters.layout import FlatLayout
from trainer_service.objectives.number_language import NumberLanguage
from trainer_service.protocols import Embedded, Scored
from trainer_service.running.execution import Parts
from trainer_service.running.proposed_settings import settings_entrants
from trainer_service.training_settings import LEARNING_RATE

RATE = LEARNING_RATE.name
FUNCTION = Function("rosenbrock", 2)
SPEC = RunSpec(
    objective=FUNCTION,
    optimizer=Optimizer(learning_rate=0.01),
    stages=Stages(count=3, steps=4, candidates=1),
    mentor=MentorChoice("some-mentor", proposals=8),
    acceptance=Acceptance(finalists=3, probe_steps=3),
)


def language(*more: Setting) -> AdapterLanguage:
    space = SettingsSpace((LEARNING_RATE, *more))
    layout = FlatLayout({"0.query.lora_A": (1, 2)})
    return AdapterLanguage(layout, lambda _: torch.zeros(1, 2), lambda _: None, CPU, space)


ADAPTER = language(Setting("layers", (0, 1, 2), count=2))
SCHEMA = ADAPTER.constraints.settings_schema or {}


class Tunable(NumberLanguage):
    """Points of a function that steps change, under settings that may be proposed."""

    def __init__(self) -> None:
        super().__init__(FUNCTION.dimensions, -5.0, 5.0, CPU)
        self._adapter = language()
        self.constraints = self._adapter.constraints

    def embed(self, proposal: Proposal, incumbent: torch.Tensor) -> Embedded:
        return self._adapter.embed(proposal, incumbent)


def proposes(*proposed: Mapping[str, Any]) -> Scripted:
    """A mentor that proposes the same settings at the end of each stage; ids are the run's."""
    return Scripted(*[[Proposal(settings=item) for item in proposed]] * 2)


def how(mentor: Any) -> Parts:
    built = dataclasses.replace(function(FUNCTION.name, FUNCTION.dimensions), language=Tunable())
    return parts(objective=lambda spec, check: built, mentor=lambda run, built: mentor)


def rates(done: Done) -> list[float]:
    return [s.learning_rate for part in done.all(Segment) for s in part.snapshots]


def test_settings_race_and_those_of_the_winner_take_effect() -> None:
    mentor = proposes(
        {RATE: 3}, {RATE: 1}, {RATE: 4.0}, {RATE: 4}, {RATE: 0.25}, {}, {RATE: 4, "alpha": 1}
    )
    done = Done(SPEC, how(mentor))
    assert done.state is RunState.SUCCEEDED, done.run.reason
    first, second = done.all(RestartDecided)
    assert [(o.status, o.score is not None) for o in first.outcomes] == [
        (ProposalStatus.OUT_OF_BOUNDS, False),
        (ProposalStatus.DUPLICATE, False),
        (ProposalStatus.APPLIED, True),
        (ProposalStatus.DUPLICATE, False),
        (ProposalStatus.LOST, True),
        (ProposalStatus.OUT_OF_BOUNDS, False),
        (ProposalStatus.OUT_OF_BOUNDS, False),
    ]
    assert first.outcomes[0].detail == (f"{RATE}: must be 0.25, 0.5, 1, 2, 4 or 8; not 3")
    assert "alpha: is not known here" in first.outcomes[-1].detail
    assert first.outcomes[1].detail == "identical to the settings in effect"
    before = {branch.loss_before for branch in first.branches}
    assert len(first.branches) == 3
    assert len(before) == 1, "all start from the same parameters"
    assert first.settings == {RATE: 4}
    assert first.chosen_id == "s0/p3"
    assert second.settings is not None

    factors = [1, first.settings[RATE], second.settings[RATE]]
    assert rates(done) == [0.01 * factor for factor in factors for _ in range(4)]
    by_id = {candidate.candidate_id: candidate for candidate in done.candidates()}
    assert by_id["s0/start"].settings == by_id["s0/step4"].settings == {RATE: 1}
    assert by_id["s1/start"].settings == by_id["s1/step8"].settings == {RATE: 4}
    assert by_id["s0/p5"].settings == {RATE: 0.25}
    losses = {branch.candidate_id: branch.loss_after for branch in first.branches}
    assert by_id["s0/p5"].probe_loss == losses["s0/p5"]
    assert by_id["s0/step4"].probe_loss is None
    told = {c.candidate_id: c for batch in mentor.batches for c in batch.candidates}
    assert {name: told[name].settings for name in by_id} == {
        name: candidate.settings for name, candidate in by_id.items()
    }
    assert mentor.outcomes[0].outcomes == first.outcomes


def test_branches_take_the_same_steps_but_for_their_settings() -> None:
    """The incumbent's branch of a race does as it does against others, and moments are kept."""
    alone, among = (
        Done(SPEC, how(proposes(*proposed)))
        for proposed in ([{RATE: 0.25}], [{RATE: 0.25}, {RATE: 8}])
    )
    few, many = alone.all(RestartDecided)[0], among.all(RestartDecided)[0]
    assert few.branches == many.branches[:2]
    longer = dataclasses.replace(SPEC, stages=Stages(count=1, steps=7), mentor=MentorChoice("none"))
    plain = Done(longer, how(proposes()))
    last = plain.candidates()[-1]
    assert last.step == 7
    assert last.settings is None
    assert few.branches[0].loss_after == pytest.approx(last.score.loss, rel=1e-6)


def test_scores_of_settings_cost_nothing() -> None:
    usage = []
    for proposed in ([{RATE: 9}], [{RATE: 2}, {RATE: 4}]):
        done = Done(SPEC, how(proposes(*proposed)))
        usage.append(done.all(RestartDecided)[0].usage)
    refused, raced = usage
    assert raced.evaluations - refused.evaluations == 3, "the branches of the race, at its end"
    assert raced.probe_steps == 9


@pytest.mark.parametrize("policy", [Policy.ALWAYS, Policy.FIRST, Policy.EXPLORE])
def test_other_policies_apply_settings_unraced(policy: Policy) -> None:
    rule = dataclasses.replace(SPEC.acceptance, policy=policy)
    done = Done(dataclasses.replace(SPEC, acceptance=rule), how(proposes({RATE: 7}, {RATE: 2})))
    decided = done.all(RestartDecided)
    assert [item.settings for item in decided] == [{RATE: 2}] * 2
    assert rates(done)[4:] == [0.02] * 8


def test_random_settings_are_of_the_schema_different_and_repeatable() -> None:
    control = build_control(RANDOM_SETTINGS, ADAPTER)
    now = {RATE: 1, "layers": [0, 1]}
    incumbent = Scored(Candidate("s0/step4", score=Score(1.0), settings=now), torch.zeros(1, 2))

    def drawn(count: int, seed: int = 1) -> list[Any]:
        answer = control.propose(ProposalRequest("s0", count=count, seed=seed), incumbent, ())
        return [proposal.settings for proposal in answer.proposals]

    some = drawn(6)
    assert some == drawn(6) != drawn(6, seed=2)
    assert len(some) == 6
    everything = drawn(64)
    assert len(everything) == 6 * 3 - 1, "all but those in effect"
    for item in everything:
        jsonschema.validate(item, SCHEMA)
        assert everything.count(item) == 1
        assert item != now


VALUES = st.sampled_from(
    [
        0.25,
        1,
        1.0,
        3,
        True,
        None,
        "1",
        -1,
        float("nan"),
        [0, 1],
        [1.0, 2],
        [1, 1],
        [0, 3],
        [0],
        {"enum": [1]},
    ]
)
SOME = st.dictionaries(st.sampled_from([RATE, "layers", "alpha"]), VALUES, max_size=3)
RIGHT = st.fixed_dictionaries(
    {
        RATE: st.sampled_from([0.25, 1, 4.0]),
        "layers": st.permutations([0, 1, 2]).map(lambda layers: layers[:2]),
    }
)


@given(st.lists(st.one_of(SOME, RIGHT, st.none()), min_size=1, max_size=5), st.booleans())
def test_nothing_outside_the_schema_ever_takes_effect(given_: list[Any], with_text: bool) -> None:
    incumbent = Scored(
        Candidate("now", score=Score(1.0), settings={RATE: 1, "layers": [0, 1]}),
        torch.zeros(1, 2),
    )
    proposals = tuple(
        Proposal(f"p{n}", settings=item, text="words" if with_text and n == 0 else "")
        for n, item in enumerate(given_)
    )
    found = settings_entrants(
        ADAPTER, Answer("r", proposals=proposals), incumbent, {"now": incumbent}.get, 0
    )
    validator = jsonschema.Draft202012Validator(SCHEMA)
    seen = [incumbent.candidate.settings]
    for entrant in found.entrants:
        assert entrant.candidate.source is CandidateSource.PROPOSAL
        assert validator.is_valid(entrant.candidate.settings)
        assert entrant.candidate.settings not in seen
        assert entrant.candidate.score == incumbent.candidate.score
        assert torch.equal(entrant.parameters, incumbent.parameters)
        seen.append(entrant.candidate.settings)
    entered = {entrant.candidate.candidate_id for entrant in found.entrants}
    assert entered.isdisjoint(found.refused)
    assert entered | found.refused.keys() == {proposal.proposal_id for proposal in proposals}


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"base_id": "older"}, ProposalStatus.MALFORMED, "from the incumbent on"),
        ({"values": (1.0,)}, ProposalStatus.MALFORMED, "without words, numbers"),
        ({"base_id": "now"}, None, ""),
        ({"weight": 0.5}, None, ""),
    ],
)
def test_settings_are_of_the_incumbent_alone(
    fields: dict[str, Any], status: ProposalStatus | None, said: str
) -> None:
    pool = {
        name: Scored(Candidate(name, score=Score(1.0), settings={RATE: 1}), torch.zeros(1, 2))
        for name in ("now", "older")
    }
    pool["older"] = dataclasses.replace(pool["older"], parameters=torch.ones(1, 2))
    answer = Answer("r", proposals=(Proposal("p", settings={RATE: 2}, **fields),))
    found = settings_entrants(Tunable(), answer, pool["now"], pool.get, 0)
    if status is None:
        (entrant,) = found.entrants
        assert torch.equal(entrant.parameters, torch.zeros(1, 2))
    else:
        assert found.refused["p"].status is status
        assert said in found.refused["p"].detail


def test_the_log_holds_what_was_proposed_and_a_control_names_itself() -> None:
    control = build_control(RANDOM_SETTINGS, Tunable())
    spec = dataclasses.replace(SPEC, mentor=MentorChoice(RANDOM_SETTINGS, proposals=2))
    done = Done(spec, how(control))
    (received, _) = done.all(ProposalsReceived)
    assert received.answer.records[0].mentor == RANDOM_SETTINGS
    assert len(received.answer.proposals) == 2
    assert all(RATE in (item.settings or {}) for item in received.answer.proposals)
    (decided, _) = done.all(RestartDecided)
    assert len(decided.branches) == 3
