"""The example lines as proposals, without an LLM."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mentor_service.backends.scripted import ScriptedBackend
from mentor_service.profiles import PROFILES
from mentor_service.prompts import EXAMPLE_TASKS
from mentor_service.prompts.next_lines import LineKind, example_lines
from mentor_service.session import AdviseSession
from mentor_service.strategies import registry
from mentorgrad.domain.advice import (
    AdviseOpen,
    Answer,
    AnswerStatus,
    Batch,
    Constraints,
    TaskCard,
)
from tests.support.told_strategy import POINTS, candidate, request

CARD = TaskCard("causal_prompt", "whether a film is worth seeing", ("good", "bad"), "a line")
LIMITS = Constraints(n_tokens=20, max_words=15)


async def answered(
    *known: str,
    count: int = 8,
    seed: int = 7,
    card: TaskCard = CARD,
    limits: Constraints = LIMITS,
    **options: Any,
) -> Answer:
    backend = ScriptedBackend(lambda _: "")
    strategy = registry.create("examples", options, PROFILES["small"], "model")
    session = AdviseSession(AdviseOpen("session", card, limits), strategy, backend, "small")
    pool = tuple(candidate(f"p{n}", text, 1.0, "proposal") for n, text in enumerate(known))
    session.take(Batch(1, 0, candidates=pool))
    answer = await session.answer(request(count, seed, exemplars=()))
    assert backend.questions == [], "it asks nothing"
    return answer


def texts(answer: Answer) -> list[str]:
    return [proposal.text for proposal in answer.proposals]


async def test_the_lines_are_proposed_as_they_stand_one_of_each_kind_in_turn() -> None:
    answer = await answered()
    assert (answer.status, answer.detail) == (AnswerStatus.USABLE, "")
    lines = texts(answer)
    assert len(set(lines)) == 8
    assert set(lines) < set(example_lines())
    kinds = [LineKind.QUESTION, LineKind.HEADING, LineKind.BEGINNING]
    assert [LineKind.of(line) for line in lines] == (3 * kinds)[:8]
    (record,) = answer.records
    assert (record.strategy, record.model, record.question) == ("examples", "", "")


async def test_the_order_is_drawn_by_the_seed() -> None:
    assert texts(await answered()) == texts(await answered())
    assert texts(await answered(seed=8)) != texts(await answered())


async def test_there_are_no_more_than_there_are_and_it_is_said() -> None:
    answer = await answered(count=20)
    assert sorted(texts(answer)) == sorted(example_lines())
    assert answer.detail == "there are no more than 12 example lines"


async def test_later_answers_give_the_others() -> None:
    first = texts(await answered(count=9))
    answer = await answered(*first, count=9)
    assert sorted([*first, *texts(answer)]) == sorted(example_lines())
    assert answer.detail.endswith("dropped 9: 9 already known")
    answer = await answered(*example_lines())
    assert (answer.status, answer.proposals) == (AnswerStatus.UNUSABLE, ())
    assert answer.detail.startswith("there are no more than 12 example lines; dropped 12")


async def test_lines_that_do_not_fit_are_left_out() -> None:
    answer = await answered(count=16, limits=Constraints(n_tokens=6, max_words=5))
    assert "longer than the prompt allows" in answer.detail
    assert all(len(line.split()) <= 5 for line in texts(answer))


@pytest.mark.parametrize("hidden", [True, False])
@pytest.mark.parametrize("form", ["completion", "chat"])
async def test_neither_the_card_nor_the_form_matters(hidden: bool, form: str) -> None:
    card = replace(CARD, description="", labels=()) if hidden else CARD
    assert texts(await answered(card=card, form=form)) == texts(await answered())


@pytest.mark.parametrize(
    ("card", "limits"),
    [(replace(CARD, objective="label_prompt", proposal="a phrase"), LIMITS), (CARD, POINTS)],
)
async def test_other_proposals_are_refused(card: TaskCard, limits: Constraints) -> None:
    answer = await answered(card=card, limits=limits)
    assert answer.status is AnswerStatus.REFUSED
    assert "examples" in answer.detail


def test_the_weak_lines_are_no_proposals() -> None:
    assert not {task.weak for task in EXAMPLE_TASKS} & set(example_lines())
