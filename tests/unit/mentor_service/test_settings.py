"""Proposals of settings: how a strategy asks for them, and what it makes of the replies."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from mentor_service import grammars
from mentor_service.profiles import PROFILES
from mentor_service.protocols import Question
from mentor_service.session import AdviseSession
from mentor_service.strategies import registry
from mentorgrad.domain.advice import Answer, AnswerStatus, Constraints, ProposalKind
from mentorgrad.errors import InvalidInput
from mentorgrad.settings_space import Setting, SettingsSpace
from tests.support import gbnf
from tests.support.told_strategy import SETTINGS, SPACE, Told, request, told

IN_EFFECT = {"learning_rate_factor": 2, "layers": [0, 1]}


async def answer(reply: str, profile: str = "capable", count: int = 3) -> tuple[Answer, Question]:
    backend = Told(lambda question, number: reply)
    strategy = registry.create("maao", {"calls": 1}, PROFILES[profile], "the-model")
    found = await strategy.propose(request(count), told("maao", SETTINGS), backend)
    return found, backend.questions[0]


def listed(*items: dict[str, Any]) -> str:
    proposals = [{"rationale": "why", "settings": item} for item in items]
    return json.dumps({"proposals": proposals})


async def test_what_is_outside_the_schema_known_or_repeated_is_dropped() -> None:
    good = {"learning_rate_factor": 0.5, "layers": [2, 0]}
    found, _ = await answer(
        listed(
            good,
            {**good, "layers": [0.0, 2.0]},
            IN_EFFECT,
            {**good, "learning_rate_factor": 3},
            {**good, "layers": [0, 9]},
            {**good, "alpha": 1},
            {"learning_rate_factor": 1},
        )
    )
    assert [item.settings for item in found.proposals] == [
        {"learning_rate_factor": 0.5, "layers": [0, 2]}
    ]
    assert found.proposals[0].rationale == "why"
    for said in ("4 outside the schema", "1 already in effect", "1 repeated in the reply"):
        assert said in found.detail


async def test_lines_of_json_are_read_where_replies_are_lines() -> None:
    lines = [json.dumps({"learning_rate_factor": factor, "layers": [1, 2]}) for factor in (1, 0.5)]
    found, question = await answer(
        "".join(f"{n}. {line}\n" for n, line in enumerate(lines, 1)), "small"
    )
    assert [json.dumps(item.settings) for item in found.proposals] == lines
    assert question.json_schema is None
    assert "root" in question.grammar


async def test_a_reply_without_settings_is_unusable() -> None:
    for reply in ("", "no idea", '{"proposals": [{"text": "words"}]}', "[" * 1000):
        found, _ = await answer(reply)
        assert found.status is AnswerStatus.UNUSABLE
        assert found.detail


async def test_a_question_holds_the_schema_the_settings_in_effect_and_the_course() -> None:
    found, question = await answer(listed({"learning_rate_factor": 1, "layers": [0, 2]}))
    assert found.status is AnswerStatus.USABLE
    schema = json.dumps(question.json_schema)
    assert '"learning_rate_factor": {"enum": [0.5, 1, 2]' in schema
    assert "minItems" not in schema
    user = question.user
    assert "factor of the learning rate): 0.5, 1 or 2" in user
    assert f"In effect now: {json.dumps(IN_EFFECT)}" in user
    assert "loss 0.8000, then 0.7200" in user, "what a race came to"
    assert "norms: 0.query=1.2/0.3" in user
    assert "s1/p9" not in user
    assert "not raced" not in user


@pytest.mark.parametrize("name", [name for name in registry.BUILT_IN if name != "maao"])
async def test_other_strategies_refuse(name: str) -> None:
    strategy = registry.create(name, {}, PROFILES["small"], "the-model")
    with pytest.raises(InvalidInput) as caught:
        await strategy.propose(request(), told(name, SETTINGS), Told(lambda q, n: "1. words\n"))
    assert caught.value.reason == "UNSUPPORTED_KIND"


@pytest.mark.parametrize("layers", [3, 30])
def test_a_grammar_allows_settings_of_the_schema(layers: int) -> None:
    lists = Setting("layers", tuple(range(layers)), count=2)
    space = SettingsSpace((*SPACE.settings[:1], lists))
    draw = random.Random(1)
    for _ in range(20):
        lines = gbnf.write(grammars.settings_lines(2, space), draw).splitlines()
        assert [line[:3] for line in lines] == ["1. ", "2. "]
        for line in lines:
            found = json.loads(line[3:])
            if len(set(found["layers"])) == 2:  # which a grammar of many layers leaves open
                space.checked(found)


def test_a_session_needs_a_schema_that_it_understands() -> None:
    opened = told("maao", Constraints(kind=ProposalKind.SETTINGS)).open
    strategy = registry.create("maao", {}, PROFILES["small"], "the-model")
    with pytest.raises(InvalidInput) as caught:
        AdviseSession(opened, strategy, None, "small")  # type: ignore[arg-type]
    assert caught.value.violations[0].field == "open.constraints.settings_schema"
