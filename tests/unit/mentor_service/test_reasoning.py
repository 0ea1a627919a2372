from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentor_service.profiles import PROFILES
from mentor_service.protocols import Question
from mentor_service.reasoning import answer_of, as_reasoning
from mentor_service.strategies import registry
from mentorgrad.domain.advice import Answer, AnswerStatus
from tests.support.told_strategy import Told, request, told


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("an answer", "an answer"),
        ("<think>\nwords\n</think>\n\nan answer", "\n\nan answer"),
        ("words without a beginning</think>an answer", "an answer"),
        ("<think>a</think> b <think>c</think>an answer", "an answer"),
        ("<THINKING>a</Thinking>an answer", "an answer"),
        ("<reasoning>a</reasoning>an answer", "an answer"),
        ("<think></think>", ""),
        ("a < b and <thinking about it>", "a < b and <thinking about it>"),
        ("", ""),
        ("<think>words", None),
        (" \n<think>", None),
        ("<think>a</think>\n<think>b", None),
        (as_reasoning("words"), None),
        (as_reasoning("words</think>an answer"), "an answer"),
    ],
)
def test_the_answer_stands_behind_the_reasoning(reply: str, answer: str | None) -> None:
    assert answer_of(reply) == answer


@given(st.text())
def test_what_has_no_marks_is_an_answer(reply: str) -> None:
    assert answer_of(reply) == reply or "<" in reply


async def asked(
    reply: str, profile: str = "capable", proposal: str = "", **options: object
) -> tuple[Answer, list[Question]]:
    backend = Told(lambda *_: reply)
    options = {"calls": 1, **options}
    strategy = registry.create("maao", options, PROFILES[profile], "model")
    known = told(proposal=proposal)
    return await strategy.propose(request(2), known, backend), backend.questions


PROPOSED = json.dumps({"proposals": [{"text": "a useful phrase"}]})
THOUGHT = json.dumps({"proposals": [{"text": "only a thought"}]})


@pytest.mark.parametrize("profile", list(PROFILES))
async def test_what_is_reasoned_is_no_proposal_and_is_recorded(profile: str) -> None:
    answers = {
        "capable": (THOUGHT, PROPOSED),
        "small": ("1. only a thought\n", "1. a useful phrase\n"),
    }
    thought, said = answers[profile]
    reply = f"<think>{thought}</think>\n{said}"
    answer, _ = await asked(reply, profile)
    assert [item.text for item in answer.proposals] == ["a useful phrase"]
    assert answer.records[0].raw_replies[0] == reply


@pytest.mark.parametrize("proposal", ["", "a line behind the text"])
@pytest.mark.parametrize("profile", list(PROFILES))
async def test_a_reply_cut_off_within_its_reasoning_has_its_reason(
    profile: str, proposal: str
) -> None:
    answer, questions = await asked(f"<think>{THOUGHT}", profile, proposal)
    count = sum(question.samples for question in questions)
    assert answer.status is AnswerStatus.UNUSABLE
    assert answer.detail == f"dropped {count}: {count} cut off while it was reasoning"
    assert answer.records[0].raw_replies[0].startswith("<think>")


async def test_a_line_stands_behind_the_reasoning_too() -> None:
    answer, _ = await asked("<think>\nIs it?\n</think>\n\nWhat is it about?", proposal="a line")
    assert [item.text for item in answer.proposals] == ["What is it about?"]


@pytest.mark.parametrize("profile", list(PROFILES))
async def test_a_chat_has_room_for_reasoning_and_no_grammar_where_it_is_wanted(
    profile: str,
) -> None:
    _, (plain, *_) = await asked(PROPOSED, profile)
    _, (thoughtful, *_) = await asked(PROPOSED, profile, reasoning_tokens=500)
    assert plain.reply_tokens == plain.max_tokens == thoughtful.max_tokens
    assert thoughtful.reply_tokens == plain.reply_tokens + 500
    assert plain.grammar or plain.json_schema
    assert not thoughtful.grammar
    assert thoughtful.json_schema is None
    _, (line, *_) = await asked("What?", profile, "a line", reasoning_tokens=500)
    assert line.completes
    assert line.reply_tokens == line.max_tokens  # nothing is reasoned in a text to continue
    assert line.reasoning_tokens == 500  # but in the chat that stands in for it


async def test_free_text_is_what_stands_behind_the_reasoning() -> None:
    backend = Told(lambda *_: "<think>never ends")
    strategy = registry.create("reflect", {"calls": 1}, PROFILES["capable"], "model")
    answer = await strategy.propose(request(2), told("reflect"), backend)
    assert answer.status is AnswerStatus.UNUSABLE
    assert "cut off while it was reasoning" in answer.detail
