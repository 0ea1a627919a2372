"""What is special to each strategy; what holds of all is in tests/contract/test_strategies.py."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentor_service.profiles import PROFILES
from mentor_service.protocols import Knowledge
from mentor_service.similarity import edit_distance
from mentor_service.strategies import registry, shown_candidates
from mentor_service.strategies.gpo import edit_budget
from mentor_service.strategies.reflect import frontier
from mentorgrad.domain.advice import Answer, AnswerStatus, Exemplar
from tests.support.told_strategy import (
    EXEMPLARS,
    POINTS,
    WORD_POOL,
    Told,
    candidate,
    fitting,
    request,
    told,
)


async def answered(
    name: str, known: Knowledge | None = None, profile: str = "small", **more: Any
) -> tuple[Answer, Told]:
    options = more.pop("options", {})
    backend = more.pop("backend", Told(fitting))
    strategy = registry.create(name, options, PROFILES[profile], "m")
    asked = request(**more)
    return await strategy.propose(asked, known or told(name), backend), backend


# -- pool -------------------------------------------------------------------------------------


def test_a_spread_goes_from_the_worst_to_the_best() -> None:
    ranked = [candidate(f"c{n}", f"w{n}", float(n)) for n in range(10)]
    assert [item.candidate_id for item in shown_candidates.spread(ranked, 4)] == [
        "c9",
        "c6",
        "c3",
        "c0",
    ]
    assert [item.candidate_id for item in shown_candidates.spread(ranked[:2], 4)] == ["c1", "c0"]
    assert shown_candidates.spread(ranked, 0) == []


def test_the_best_snapshot_is_soft_and_finite() -> None:
    assert shown_candidates.best_snapshot(told()) == "s1/step80"
    assert shown_candidates.best_snapshot(told(bare=True)) == ""


def test_likeness_is_the_cosine_or_the_share_of_words() -> None:
    one, other = WORD_POOL[3], WORD_POOL[4]
    known = told(embeddings={})
    assert shown_candidates.alike(known, one, other) == pytest.approx(3 / 7)
    vectors = {one.candidate_id: np.float32([1, 0]), other.candidate_id: np.float32([0.6, 0.8])}
    assert shown_candidates.alike(told(embeddings=vectors), one, other) == pytest.approx(0.6)


# -- samples ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "options", "samples", "lines"),
    [
        (8, {}, 2, 4),
        (64, {}, 16, 4),
        (1, {}, 1, 1),
        (8, {"samples": 8}, 8, 1),
        (8, {"samples": 1}, 1, 8),
        (3, {"samples": 8}, 3, 1),
    ],
)
async def test_many_proposals_come_of_many_short_replies(
    count: int, options: dict[str, Any], samples: int, lines: int
) -> None:
    answer, backend = await answered("maao", count=count, options=options)
    question = backend.questions[0]
    assert question.samples == samples
    assert question.grammar.split("\n")[0].count("line") == lines
    assert len(answer.proposals) >= count // 2
    assert len(answer.records[0].raw_replies) == samples


async def test_patterns_differ_from_question_to_question_which_stays_the_same() -> None:
    for name in ("gpo", "directional"):
        _, backend = await answered(name, count=32)
        first, *others = backend.questions
        assert 2 <= len(backend.questions) <= 4
        assert {asked.user.split("Write")[0] for asked in others} == {first.user.split("Write")[0]}
        assert len({asked.grammar for asked in backend.questions}) > 1
        _, backend = await answered(name, profile="capable", count=8, options={"calls": 1})
        assert len(backend.questions) == 1


# -- leo --------------------------------------------------------------------------------------


async def test_leo_explores_with_half_and_exploits_with_the_best() -> None:
    answer, backend = await answered("leo", count=8)
    far, near = backend.questions
    assert far.temperature > near.temperature
    assert "late parcel card" in far.user
    assert "late parcel card" not in near.user
    assert near.user.index("message of the buyer order") < near.user.index("customer asks the shop")
    parents = [set(item.parents) for item in answer.proposals]
    assert "s1/step60/words" in parents[0]  # the worst
    assert parents[-1] == {"s0/p1", "s1/step80/words"}  # the best two
    assert parents[:4] == [parents[0]] * 4


async def test_what_leo_explored_well_is_exploited_the_next_time() -> None:
    known = told("leo")
    found = candidate("s1/p1", "question from a client", 0.5, "proposal", stage=1)
    later = replace(known, pool={**known.pool, "s1/p1": found})
    for after, expected in ((known, False), (later, True)):
        _, backend = await answered("leo", after)
        assert ("question from a client" in backend.questions[1].user) is expected


async def test_leo_random_shows_nothing_and_asks_once() -> None:
    answer, backend = await answered("leo_random")
    (question,) = backend.questions
    assert not any(item.text in question.user for item in WORD_POOL)
    assert all(item.parents == () for item in answer.proposals)


# -- gpo --------------------------------------------------------------------------------------


@given(most=st.integers(1, 64), one=st.floats(0, 1), other=st.floats(0, 1))
def test_the_edit_budget_decays_from_most_to_one(most: int, one: float, other: float) -> None:
    early, late = sorted((one, other))
    assert edit_budget(most, 0.0) == most
    assert edit_budget(most, 1.0) == 1
    assert 1 <= edit_budget(most, late) <= edit_budget(most, early) <= most


@pytest.mark.parametrize("profile", list(PROFILES))
@pytest.mark.parametrize(("progress", "budget"), [(0.0, 3), (1.0, 1)])
async def test_gpo_changes_no_more_words_than_its_budget(
    profile: str, progress: float, budget: int
) -> None:
    answer, _ = await answered("gpo", profile=profile, progress=progress, count=16)
    edited = ("customer", "asks", "the", "shop", "about")
    assert answer.status is AnswerStatus.USABLE
    for item in answer.proposals:
        assert item.base_id == item.parents[0] == "s0/p1"
        assert edit_distance(edited, tuple(item.text.split())) <= budget


async def test_gpo_refuses_what_changes_too_much() -> None:
    backend = Told(lambda *_: '["quite other words entirely here"]')
    answer, _ = await answered("gpo", profile="capable", backend=backend)
    assert answer.status is AnswerStatus.UNUSABLE
    assert "more than 2 words changed" in answer.detail


async def test_gpo_changes_no_candidate_twice() -> None:
    known = told("gpo")
    chosen = []
    for number in range(3):
        answer, _ = await answered("gpo", known, seed=number)
        first = answer.proposals[0].parents[0]
        chosen.append(first)
        child = candidate(
            f"n{number}", f"new text {number}", 5.0, "proposal", parents=answer.proposals[0].parents
        )
        known = replace(known, pool={**known.pool, child.candidate_id: child})
    assert len(set(chosen)) == 3


async def test_gpo_shows_the_most_like_ones_and_always_the_latest() -> None:
    pool_ = [candidate(f"c{n}", f"words number {chr(97 + n)}", 1.0 + n) for n in range(8)]
    angles = [0.0, 0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 1.5]
    known = replace(
        told("gpo"),
        pool={item.candidate_id: item for item in pool_},
        embeddings={
            item.candidate_id: np.float32([np.cos(angle), np.sin(angle)])
            for item, angle in zip(pool_, angles, strict=True)
        },
    )
    answer, _ = await answered("gpo", known)
    assert answer.proposals[0].parents == ("c0", "c7", "c6", "c4", "c2")


# -- directional ------------------------------------------------------------------------------


async def test_directional_shows_moves_with_what_they_did_and_the_gradients_words() -> None:
    _, backend = await answered("directional", profile="capable")
    user = backend.questions[0].user
    assert "message about the customer order -> customer asks the shop about: loss down" in user
    assert "1. instead of message: letter (-0.300)" in user
    assert "Now at: message of the buyer order (loss 0.640)" in user


async def test_directional_under_a_grammar_chooses_among_the_gradients_words() -> None:
    answer, _ = await answered("directional", count=16)
    allowed = [
        {"message", "letter", "request"},
        {"of", "regarding", "concerning"},
        {"the", "our", "this", "my"},
        {"buyer", "client", "shopper", "customer"},
        {"order", "purchase", "question", "issue"},
    ]
    for item in answer.proposals:
        words = item.text.split()
        assert len(words) == len(allowed)
        assert all(word in place for word, place in zip(words, allowed, strict=True))


async def test_directional_for_numbers_shows_moves_only() -> None:
    _, backend = await answered("directional", told("directional", POINTS))
    user = backend.questions[0].user
    assert "2.9500 -2.1000 1.9500 -> 0.9000 0.0500 1.1000: loss down by 10.700" in user
    assert "gradient" not in user


# -- evoprompt --------------------------------------------------------------------------------


@pytest.mark.parametrize(("variant", "fewest", "most"), [("ga", 2, 2), ("de", 2, 4)])
async def test_evoprompt_breeds_each_question_from_parents_of_its_own(
    variant: str, fewest: int, most: int
) -> None:
    answer, backend = await answered("evoprompt", options={"variant": variant, "questions": 3})
    assert len(backend.questions) == 3
    groups = {item.parents for item in answer.proposals}
    assert all(fewest <= len(set(parents)) == len(parents) <= most for parents in groups)
    others = {
        item.parents
        for seed in range(10)
        for item in (await answered("evoprompt", seed=seed))[0].proposals
    }
    assert len(others) > 3


async def test_evoprompt_breeds_from_its_population_only() -> None:
    for seed in range(5):
        answer, _ = await answered("evoprompt", seed=seed, options={"population": 2})
        for item in answer.proposals:
            assert set(item.parents) == {"s0/p1", "s1/step80/words"}


async def test_evoprompt_asks_plainly_while_there_is_one_candidate_only() -> None:
    known = told("evoprompt")
    single = replace(known, pool={"s0/p1": known.pool["s0/p1"]})
    answer, backend = await answered("evoprompt", single)
    assert answer.status is AnswerStatus.USABLE
    assert "new and different" in backend.questions[0].user


# -- reflect ----------------------------------------------------------------------------------


def test_the_frontier_counts_wins_and_leaves_out_what_is_dominated() -> None:
    losses = np.array([[1.0, 5.0, 5.0], [5.0, 1.0, 1.0], [5.0, 1.0, 2.0], [9.0, 9.0, np.nan]])
    assert frontier(losses) == [1, 2, 0, 0]


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_somebody_is_on_the_frontier(candidates: int, examples: int, seed: int) -> None:
    losses = np.random.default_rng(seed).integers(0, 4, (candidates, examples)).astype(float)
    weights = frontier(losses)
    assert len(weights) == candidates
    assert max(weights) >= 1
    for number, weight in enumerate(weights):
        assert weight <= (losses[number] == losses.min(axis=0)).sum()


async def test_reflect_asks_what_is_wrong_and_then_for_an_edit_by_the_answer() -> None:
    backend = Told(
        lambda question, number: "It is vague." if number == 0 else fitting(question, number)
    )
    answer, _ = await answered("reflect", backend=backend, profile="capable")
    critique, edit = backend.questions
    assert "What is wrong with the phrase?" in critique.user
    assert "What is wrong with it: It is vague." in edit.user
    assert "kettle" in critique.user
    assert "kettle" in edit.user
    assert len(answer.records) == 2
    assert {item.base_id for item in answer.proposals} <= {"s0/p1", "s1/step80/words"}


async def test_reflect_draws_its_parent_from_the_frontier() -> None:
    parents = {
        item.parents[0]
        for seed in range(20)
        for item in (await answered("reflect", seed=seed))[0].proposals
    }
    assert parents == {"s0/p1", "s1/step80/words"}


async def test_reflect_without_losses_by_row_shows_what_the_incumbent_gets_wrong() -> None:
    known = told("reflect", exemplar_losses={})
    _, backend = await answered("reflect", known)
    critique = backend.questions[0].user
    assert "is about delivery, is taken for refund" in critique
    assert "close my profile" not in critique


async def test_reflect_without_failures_asks_for_an_edit_at_once() -> None:
    right = tuple(Exemplar(row.text, row.label, row.label, 0.1) for row in EXEMPLARS)
    known = told("reflect", exemplar_losses={})
    answer, backend = await answered("reflect", known, exemplars=right)
    assert len(backend.questions) == 1
    assert answer.status is AnswerStatus.USABLE


# -- maao_released ----------------------------------------------------------------------------


async def test_maao_released_takes_the_first_line_whatever_it_says() -> None:
    backend = Told(lambda *_: "Here are three templates:\n1. a photo of a parcel\n2. a bill\n")
    answer, _ = await answered("maao_released", backend=backend)
    (proposal,) = answer.proposals
    assert proposal.text == "here are three templates"
    (question,) = backend.questions
    assert "image" in question.user
    assert "customer's message" not in question.user
    assert "billing" not in question.user
    assert "message of the buyer order" in question.user
    assert "customer asks the shop about" not in question.user  # of the stage before


async def test_maao_released_says_that_it_cut_a_line() -> None:
    backend = Told(lambda *_: "one two three four five six seven eight nine ten")
    answer, _ = await answered("maao_released", backend=backend)
    assert answer.proposals[0].text == "one two three four five six seven eight"
    assert "truncated to fit" in answer.detail


# -- opro -------------------------------------------------------------------------------------


async def test_opro_shows_twenty_at_most_and_draws_eight_replies() -> None:
    draw = random.Random(1)
    many = [candidate(f"c{n}", f"word{chr(97 + n)} text", draw.random()) for n in range(26)]
    known = replace(told("opro"), pool={item.candidate_id: item for item in many})
    _, backend = await answered("opro", known, profile="capable")
    (question,) = backend.questions
    assert question.user.count(": score ") == 20
    assert question.samples == 8
    assert '"Please pay me back for the broken kettle.": refund' in question.user
