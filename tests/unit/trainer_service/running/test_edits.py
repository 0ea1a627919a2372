"""A proposal is an edit of a base: embedded on it, and mixed with it by a weight."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.domain.advice import Answer, AnswerStatus, Proposal, ProposalStatus
from mentorgrad.domain.event import ProposalsReceived, RestartDecided
from mentorgrad.domain.run import Candidate, Score
from mentorgrad.domain.spec import Acceptance, Policy, RunSpec, Stages
from tests.support.numerics import function, objective
from tests.unit.trainer_service.running.test_alternation import SPEC, Scripted, with_mentor
from trainer_service.costs import Prices
from trainer_service.protocols import Objective, ProposalRejected, Scored
from trainer_service.running.loop_state import Pool
from trainer_service.running.scoring import ScoredAnswer, place, score_answer
from trainer_service.running.screening import Screening

POINTS = function("rastrigin", 2)


def scored(name: str, parameters: torch.Tensor) -> Scored:
    return Scored(Candidate(name, score=Score(1.0)), parameters)


def pool(built: Objective) -> Pool:
    made = (built.language.initial(torch.Generator().manual_seed(seed)) for seed in range(2))
    return Pool([scored(name, point) for name, point in zip(("now", "old"), made, strict=True)])


def answered(*proposals: Proposal, built: Objective = POINTS) -> ScoredAnswer:
    known = pool(built)
    answer = Answer("s0", AnswerStatus.USABLE, proposals)
    screening = Screening(RunSpec(), built.problem, Prices(built.problem.costs, 1, 1))
    return score_answer(
        built.language, screening, answer, known.entries[0], known.get, 0, lambda count: True
    )


NAMES = ["rastrigin", "label_prompt", "label_prompt_per_class", "prompt_tuning"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("base_id", ["", "old"])
@pytest.mark.parametrize("raw", [False, True])
def test_a_weight_mixes_the_proposal_with_its_base(name: str, base_id: str, raw: bool) -> None:
    built = objective(name)
    known = pool(built)
    base = known.entries[bool(base_id)].parameters
    proposal = built.language.random_proposal(torch.Generator().manual_seed(9))
    if raw:
        drawn = built.language.random_parameters(torch.Generator().manual_seed(9), base)
        proposal = Proposal(parameters=drawn.numpy())
    placed = built.language.embed(proposal, base).parameters
    for weight in (0.25, 0.5, 1.0):
        edit = dataclasses.replace(proposal, base_id=base_id, weight=weight)
        found = place(built.language, edit, known.entries[0], known.get)
        torch.testing.assert_close(found.parameters, base + weight * (placed - base))
        assert found.filled == built.language.embed(proposal, base).filled
        if weight == 1.0:
            assert torch.equal(found.parameters, placed)


def test_positions_that_are_not_filled_are_the_bases_at_every_weight() -> None:
    built = objective("label_prompt")
    known = pool(built)
    edit = Proposal(text="money back", base_id="old", weight=0.3)
    found = place(built.language, edit, known.entries[0], known.get)
    assert found.filled == (0, 1)
    assert torch.equal(found.parameters[2:], known.entries[1].parameters[2:])
    assert not torch.equal(found.parameters[:2], known.entries[1].parameters[:2])


@given(
    weight=st.floats(0.01, 1.0),
    values=st.tuples(st.floats(-5.0, 5.0), st.floats(-5.0, 5.0)),
)
def test_a_mixture_lies_between_base_and_proposal(
    weight: float, values: tuple[float, float]
) -> None:
    known = pool(POINTS)
    base = known.entries[1].parameters
    edit = Proposal(values=values, base_id="old", weight=weight)
    found = place(POINTS.language, edit, known.entries[0], known.get).parameters
    point = torch.tensor(values)
    low, high = torch.minimum(base, point), torch.maximum(base, point)
    assert bool(((found >= low - 1e-5) & (found <= high + 1e-5)).all())


def test_a_base_that_is_not_in_the_pool_is_an_outcome() -> None:
    known = pool(POINTS)
    edit = Proposal(text="1 1", base_id="s9/p9")
    with pytest.raises(ProposalRejected) as caught:
        place(POINTS.language, edit, known.entries[0], known.get)
    assert caught.value.status is ProposalStatus.MALFORMED
    assert "s9/p9" in caught.value.detail
    found = answered(Proposal("a", "1 1", base_id="s9/p9"), Proposal("b", "1 1"))
    assert found.refused["a"].status is ProposalStatus.MALFORMED
    assert [entrant.candidate.candidate_id for entrant in found.entrants] == ["b"]
    assert found.cost.evaluations == 1


def test_a_candidate_names_the_base_among_its_parents() -> None:
    found = answered(
        Proposal("plain", "1 1", parents=("x",)),
        Proposal("mixed", "1 1", parents=("x",), weight=0.5),
        Proposal("edit", "1 2", parents=("x", "old"), base_id="old", weight=0.5),
    )
    assert [entrant.candidate.parents for entrant in found.entrants] == [
        ("x",),
        ("now", "x"),
        ("old", "x"),
    ]


def test_the_numbers_of_a_mixture_are_its_own_and_words_are_the_proposals() -> None:
    (entrant,) = answered(Proposal("a", "1 1", weight=0.5)).entrants
    (written,) = POINTS.language.project(entrant.parameters[None])
    assert entrant.candidate.text == written.text != "1 1"
    mixed = Proposal("a", "money back", weight=0.1)
    (words,) = answered(mixed, built=objective("label_prompt")).entrants
    assert words.candidate.text == "money back"


def test_a_run_goes_on_from_an_edit_of_an_earlier_candidate() -> None:
    mentor = Scripted(
        [
            Proposal("edit", "1 1", base_id="s0/start", weight=0.5),
            Proposal("lost", "1 1", base_id="never"),
            Proposal("raw", parameters=np.array([3.0, 3.0], np.float32), weight=0.5),
        ]
    )
    rule = Acceptance(policy=Policy.ALWAYS)
    spec = dataclasses.replace(SPEC, stages=Stages(2, 15, 3), acceptance=rule)
    done = with_mentor(mentor, spec)
    (decided,) = done.all(RestartDecided)
    statuses = {outcome.proposal_id: outcome.status for outcome in decided.outcomes}
    assert statuses["lost"] is ProposalStatus.MALFORMED
    assert set(statuses.values()) == {
        ProposalStatus.MALFORMED,
        ProposalStatus.APPLIED,
        ProposalStatus.NOT_CHOSEN,
    }
    known = {c.candidate_id: c for c in done.candidates()}
    start, edit = (
        np.array(list(map(float, known[name].text.split()))) for name in ("s0/start", "edit")
    )
    np.testing.assert_allclose(edit, (start + 1.0) / 2, atol=2e-3)
    (received,) = done.all(ProposalsReceived)
    assert received.answer.proposals[0].weight == 0.5
    assert received.answer.proposals[0].base_id == "s0/start"
