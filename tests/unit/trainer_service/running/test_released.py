"""The parts of `maao_released`, each by itself, and a run of it."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mentorgrad.domain.advice import Proposal, ProposalStatus
from mentorgrad.domain.event import CandidatesScored, RestartDecided, StageStarted
from mentorgrad.domain.objective import Metric, Placement, Projection
from mentorgrad.domain.run import CandidateSource, RunState
from mentorgrad.domain.spec import Acceptance, Budget, Policy, Stages
from mentorgrad.errors import InvalidInput
from mentorgrad.field_limits import violations
from mentorgrad.presets import maao_released
from tests.contract.test_resume import StopsAt, create, effective, go
from tests.support.numerics import (
    prompt_tuning_on,
    tiny,
    tiny_encoder,
    tiny_label_prompt,
    tiny_task,
)
from tests.unit.trainer_service.running.test_alternation import (
    SPEC,
    Done,
    Scripted,
    parts,
    shared_store,
    with_mentor,
)
from trainer_service.encoding.projection import Vocabulary
from trainer_service.protocols import Objective, ProposalRejected
from trainer_service.running.scoring import candidate_steps
from trainer_service.running.stop_control import StopKind

PADDED = Projection(placement=Placement.PADDED)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# -- projection -------------------------------------------------------------------------------


def test_the_farthest_token_of_the_range_is_written_piece_by_piece() -> None:
    rule = Projection(Metric.FARTHEST_COSINE, False, 20, 59, pieces_apart=True)
    built = tiny_label_prompt(n_tokens=3, projection=rule)
    point = built.language.random_parameters(generator(), built.language.initial(generator()))
    (found,) = built.language.project(point[None])
    assert all(20 <= token <= 59 for token in found.ids)
    table = tiny_encoder("bert").tokens.vectors[20:60]
    cosines = torch.nn.functional.cosine_similarity(point[:, None], table[None], dim=-1)
    assert found.ids == tuple((cosines.argmin(-1) + 20).tolist())
    assert found.distance == pytest.approx(float((1 - cosines.min(-1).values).mean()), abs=1e-5)
    assert found.distance > 1.0 or float(cosines.min()) > 0.0


def test_pieces_of_one_word_stay_apart() -> None:
    pieces = tiny_encoder("bert").tokens.token_ids("goodness")
    assert len(pieces) > 1
    rules = (Projection(whole_words=False, pieces_apart=value) for value in (False, True))
    whole, apart = (
        tiny_label_prompt(projection=rule).language._text(pieces)  # type: ignore[attr-defined]
        for rule in rules
    )
    assert whole == "goodness"
    assert len(apart.split()) == len(pieces)


def test_a_range_without_tokens_is_refused() -> None:
    assert [v.field for v in violations(Projection(first_id=9, last_id=8))] == ["last_id"]
    with pytest.raises(InvalidInput, match="no token"):
        Vocabulary.of(tiny_encoder("bert").tokens, whole_words=True, first_id=10**6)
    kept = Vocabulary.of(tiny_encoder("bert").tokens, whole_words=True, first_id=10, last_id=19).ids
    every = Vocabulary.of(tiny_encoder("bert").tokens, whole_words=True).ids
    assert kept.tolist() == [i for i in every.tolist() if 10 <= i <= 19] == list(range(10, 20))


# -- placement --------------------------------------------------------------------------------


@given(count=st.integers(1, 12))
@settings(max_examples=12)
def test_a_padded_proposal_fills_every_position(count: int) -> None:
    under = tiny_encoder("bert")
    built = _placed(Placement.PADDED)
    text = " ".join(["money"] * count)
    incumbent = built.language.random_parameters(generator(), built.language.initial(generator()))
    embedded = built.language.embed(Proposal(text=text), incumbent)
    (money,), (a,) = under.tokens.token_ids("money"), under.tokens.token_ids("a")
    expected = [under.tokens.start_id, *[money] * min(count, 7), *[a] * max(7 - count, 0)]
    assert embedded.filled == tuple(range(8))
    assert torch.equal(embedded.parameters, under.tokens.vectors[expected])


@functools.cache
def _placed(placement: Placement) -> Objective:
    return tiny_label_prompt(projection=Projection(placement=placement))


@given(count=st.integers(1, 8))
@settings(max_examples=8)
def test_a_last_or_repeated_proposal_stands_directly_before_the_label(count: int) -> None:
    under = tiny_encoder("bert")
    text = " ".join(["money", "bank", "good", "fast", "train", "cold", "river", "rain"][:count])
    ids = under.tokens.token_ids(text)
    (stop,) = under.tokens.token_ids(".")
    for placement, front in (
        (Placement.LAST, [stop] * (8 - count)),
        (Placement.REPEATED, (ids * 8)[-8:][: 8 - count]),
    ):
        built = _placed(placement)
        incumbent = built.language.random_parameters(
            generator(), built.language.initial(generator())
        )
        embedded = built.language.embed(Proposal(text=text), incumbent)
        assert embedded.filled == tuple(range(8))
        assert torch.equal(embedded.parameters, under.tokens.vectors[[*front, *ids]])
        with pytest.raises(ProposalRejected) as caught:
            built.language.embed(Proposal(text="money " * 9), incumbent)
        assert caught.value.status is ProposalStatus.TOO_LONG


def test_a_padded_proposal_keeps_the_head_and_an_empty_one_is_still_empty() -> None:
    built = tiny(projection=PADDED)
    incumbent = built.language.initial(generator())
    embedded = built.language.embed(Proposal(text="good"), incumbent)
    assert embedded.filled == (0, 1, 2)
    assert torch.equal(embedded.parameters[3:], incumbent[3:])
    start = tiny_encoder("bert").tokens.vectors[tiny_encoder("bert").tokens.start_id]
    assert torch.equal(embedded.parameters[0, : len(start)], start)
    with pytest.raises(ProposalRejected) as caught:
        built.language.embed(Proposal(text=" "), incumbent)
    assert caught.value.status is ProposalStatus.EMPTY


# -- snapshots --------------------------------------------------------------------------------


@given(
    stride=st.integers(1, 9),
    candidates=st.integers(1, 9),
    begin=st.integers(0, 50),
    length=st.integers(0, 50),
)
def test_early_snapshots_and_the_last(
    stride: int, candidates: int, begin: int, length: int
) -> None:
    steps = candidate_steps(Stages(candidates=candidates, stride=stride), begin, length)
    assert list(steps) == sorted(set(steps))
    assert all(begin < step <= begin + length for step in steps)
    if length:
        assert steps[-1] == begin + length
        early = [step for step in steps if (step - begin - 1) % stride == 0][:candidates]
        assert early[0] == begin + 1
    assert len(steps) <= candidates + 1


def test_a_stride_takes_the_first_snapshots_of_every_stage() -> None:
    done = Done(dataclasses.replace(SPEC, stages=Stages(2, 15, 5, stride=2)))
    snapshots = [
        c.step
        for c in done.candidates()
        if c.source is CandidateSource.SNAPSHOT and "step" in c.candidate_id
    ]
    assert snapshots == [1, 3, 5, 7, 9, 15, 16, 18, 20, 22, 24, 30]


@pytest.mark.slow
@pytest.mark.parametrize("evaluations", [4, 14, 40])
def test_with_a_stride_the_end_can_always_be_scored(evaluations: int) -> None:
    spec = dataclasses.replace(
        SPEC, stages=Stages(3, 10, 3, stride=2), budget=Budget(evaluations=evaluations)
    )
    done = Done(spec)
    assert done.run.usage.evaluations <= evaluations
    assert [c for p in done.all(CandidatesScored) for c in p.candidates][-1].step == done.run.step


# -- the first proposal -----------------------------------------------------------------------

FIRST = Acceptance(policy=Policy.FIRST, keep_moments=True)


def test_the_first_proposal_is_taken_unscored_and_the_others_thrown_away() -> None:
    mentor = Scripted([Proposal("a", "no point"), Proposal("b", "4 4"), Proposal("c", "0 0")])
    spec = dataclasses.replace(SPEC, stages=Stages(2, 15, 3), acceptance=FIRST)
    done = with_mentor(mentor, spec)
    (decided,) = done.all(RestartDecided)
    assert (decided.restarted, decided.chosen_id) == (True, "b")
    assert [(o.proposal_id, o.status, o.score) for o in decided.outcomes] == [
        ("a", ProposalStatus.MALFORMED, None),
        ("b", ProposalStatus.APPLIED, None),
        ("c", ProposalStatus.NOT_CHOSEN, None),
    ]
    assert [branch.candidate_id for branch in decided.branches] == ["s0/step15"]
    assert done.all(StageStarted)[1].text == "4 4"
    scored = done.candidates()
    assert not {"a", "b", "c"} & {c.candidate_id for c in scored}
    assert done.run.usage.evaluations == len(scored)
    assert done.run.restarts_applied == 1


def test_without_a_usable_first_proposal_the_run_stays() -> None:
    mentor = Scripted([Proposal("a", "no point"), Proposal("b", "")])
    spec = dataclasses.replace(SPEC, stages=Stages(2, 15, 3), acceptance=FIRST)
    (decided,) = with_mentor(mentor, spec).all(RestartDecided)
    assert (decided.restarted, decided.chosen_id) == (False, "s0/step15")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "blend"),
    [
        (12, 0.5),
        pytest.param(0, 0.5, marks=pytest.mark.campaign),
        pytest.param(12, 1.0, marks=pytest.mark.campaign),
        pytest.param(0, 1.0, marks=pytest.mark.campaign),
    ],
)
def test_a_run_that_takes_the_first_is_resumed_exactly(steps: int, blend: float) -> None:
    rule = dataclasses.replace(FIRST, blend=blend)
    spec = dataclasses.replace(SPEC, stages=Stages(3, steps, 5, stride=2), acceptance=rule)
    store = shared_store()
    whole, control = create(store, spec), StopsAt()
    assert go(store, whole, control, parts()) is RunState.SUCCEEDED
    assert store.get_run(whole).restarts_applied == 2
    for n, kind in zip(
        range(0, control.asked, max(1, control.asked // 3)),
        itertools.cycle((StopKind.LOST, StopKind.PAUSE)),
    ):
        run_id = create(store, spec)
        assert go(store, run_id, StopsAt(n, kind), parts()) is not RunState.SUCCEEDED
        if kind is StopKind.LOST:
            store.transition(run_id, RunState.INTERRUPTED, "the worker died", attempt=1)
        assert go(store, run_id, StopsAt(), parts()) is RunState.SUCCEEDED
        assert effective(store, run_id) == effective(store, whole)


# -- the whole preset -------------------------------------------------------------------------


@pytest.mark.slow
def test_the_preset_runs_and_asks_in_three_rounds() -> None:
    spec = maao_released()
    projection: Any = dataclasses.replace(spec.objective.projection, first_id=0, last_id=None)  # type: ignore[union-attr]
    task = tiny_task()
    few = dataclasses.replace(task, train=task.train[:8], selection=task.selection[:4], test=())
    built = prompt_tuning_on(few, tiny_encoder("bert"), n_tokens=8, projection=projection)
    optimizer = dataclasses.replace(spec.optimizer, batch_size=4)
    spec = dataclasses.replace(spec, optimizer=optimizer, budget=Budget(gradient_steps=90))
    told = [Proposal("", " ".join(["good"] * 20)), Proposal("", "good words")]
    mentor = Scripted(*[told] * 3)
    short = dataclasses.replace(spec, budget=Budget(gradient_steps=21))
    Done(short, parts(mentor=lambda *_: mentor, objective=lambda *_: built))
    # `none` is the preset's mentor until one is named.
    assert mentor.requests == []
    choice = dataclasses.replace(spec.mentor, name="small")
    named = dataclasses.replace(spec, mentor=choice)
    done = Done(named, parts(mentor=lambda *_: mentor, objective=lambda *_: built))
    assert done.state is RunState.SUCCEEDED
    assert [request.count for request in mentor.requests] == [3, 3, 3]
    decided = done.all(RestartDecided)
    assert [d.restarted for d in decided] == [True] * 3
    assert all(d.outcomes[0].status is ProposalStatus.APPLIED for d in decided), "cut"
    assert [s.step for s in done.all(StageStarted)] == [0, 20, 40, 60]
    assert (done.run.step, done.run.usage.gradient_steps) == (90, 90)
    stage = [c.step for c in done.candidates() if c.stage == 1 and c.source == "snapshot"]
    assert stage == [21, 23, 25, 27, 29, 40]
