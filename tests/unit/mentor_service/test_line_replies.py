from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentor_service.line_replies import LineRules, line_forms
from mentor_service.parsing import Parsed
from mentorgrad.domain.advice import Constraints

RULES = LineRules(
    fields=("Task", "Labels", "Prompt"),
    examples=("Which animal is it?",),
    subjects=("animal", "dog"),
    labels=("positive", "negative", "sci/tech"),
    max_words=8,
)


@pytest.mark.parametrize(
    ("reply", "line"),
    [
        (" Is this review positive or negative?", "Is this review positive or negative?"),
        (" Section  of\tthe newspaper: ", "Section of the newspaper:"),
        ("\n\nThe writer feels\nTask: more", "The writer feels"),
        ('"What is it?"', "What is it?"),
        ("Prompt: 'What is it?'", "What is it?"),
        (' The label of "this" is', 'The label of "this" is'),
        (" Is it positive?", "Is it positive?"),
        (" Is it positive?:", "Is it positive?:"),
        (" The customers' and the shop's words:", "The customers' and the shop's words:"),
        (" Don't you think it's good?", "Don't you think it's good?"),
        (" Positive or negative:", "Positive or negative:"),
        (" Say positive or negative.", "Say positive or negative."),
        (" Ist das gut\x00 für uns?", "Ist das gut für uns?"),
        (" この文は", "この文は"),
    ],
)
def test_a_line_keeps_its_case_and_punctuation(reply: str, line: str) -> None:
    assert RULES.read(reply, True) == (line, "")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "empty"),
        (" \t", "empty"),
        (" ?!...", "empty"),
        ('""', "empty"),
        (" What is it? Task: another one", "runs on into another task"),
        (" positive Prompt (90): more", "runs on into another task"),
        ("Labels: ", "empty"),
        (" which ANIMAL is it", "repeats an example"),
        (' The text "it is good" is', "quotes a text of its own"),
        (" “It is good” is", "quotes a text of its own"),
        (" „Es ist gut“ ist", "quotes a text of its own"),
        (" The text 'it is good' is", "quotes a text of its own"),
        (" ‘It is good’:", "quotes a text of its own"),
        (" Is it a dog?", "about the example instead of the task"),
        (" Positive.", "answers instead of asking"),
        (" sci/tech", "answers instead of asking"),
        (" This review is negative", "answers instead of asking"),
        (" It is a negative view of", "answers instead of asking"),
        (" one two three four five six seven eight nine", "longer than the prompt allows"),
    ],
)
def test_what_is_no_prompt_has_its_reason(reply: str, reason: str) -> None:
    assert RULES.read(reply, True)[1] == reason


SCRIPTS = replace(
    RULES, labels=("положительный", "отрицательный", "正面", "负面", "إيجابي", "سلبي")
)


@pytest.mark.parametrize(
    "line",
    [
        "Этот отзыв положительный или отрицательный?",
        "Тональность отзыва:",
        "这条评论是正面还是负面？",
        "这条评论是正面的吗？",
        "评论的情感：",
        "“正面”或“负面”：",
        "この文は",
        "هل هذا التعليق إيجابي أم سلبي؟",
        "نوع التعليق:",
        "ข้อความนี้เกี่ยวกับอะไร",
    ],
)
def test_lines_of_other_scripts_are_of_use(line: str) -> None:
    assert SCRIPTS.read(f" {line}", True) == (line, "")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Этот отзыв положительный.", "answers instead of asking"),
        ("这条评论是正面。", "answers instead of asking"),
        ("هذا التعليق إيجابي", "answers instead of asking"),
        ("“这部电影真好看”是", "quotes a text of its own"),
        ("「これはとても良い」は", "quotes a text of its own"),
        ("这条评论是正面还是负面还是别的什么呢", "longer than the prompt allows"),
        ("？！。", "empty"),
        ("评论 Task：别的", "runs on into another task"),
    ],
)
def test_lines_of_other_scripts_have_their_reason(line: str, reason: str) -> None:
    assert SCRIPTS.read(line, True)[1] == reason


def test_copies_of_other_scripts_count_once() -> None:
    parsed = Parsed(Constraints())
    for line in ("评论的情感：", "评论的情感", "Тональность:", "тональность", "ما هذا؟", "ما هذا"):
        parsed.read_line(line, SCRIPTS, True)
    assert [item.text for item in parsed.found] == ["评论的情感：", "Тональность:", "ما هذا؟"]
    assert parsed.dropped == {"repeated in the reply": 3}


@pytest.mark.parametrize(
    ("line", "is_near"),
    [
        ("what  is the type of this message", True),
        ("What type of message is this?", True),  # other order
        ("Which type of a message is that?", True),  # the same words of meaning
        ("Type of message:", False),  # a heading
        ("What is the kind of this message?", False),
        ("What is the type of this short message?", False),
        ("What is this message?", False),
    ],
)
def test_what_near_copies_of_a_line_are(line: str, is_near: bool) -> None:
    forms = line_forms("What is the type of this message?")
    assert forms.isdisjoint(line_forms(line)) is not is_near
    parsed = Parsed(Constraints(), known=("What is the type of this message?",), near=True)
    assert bool(parsed.read_line(line, RULES, True)) is not is_near


def test_the_ends_of_other_scripts_tell_lines_apart_too() -> None:
    assert line_forms("вопрос об отзыве？").isdisjoint(line_forms("об отзыве вопрос："))
    assert not line_forms("вопрос об отзыве？").isdisjoint(line_forms("об отзыве вопрос?"))


@pytest.mark.parametrize(
    ("last", "reply", "line"),
    [
        ("?", " What is it? For example, ...", "What is it?"),
        (":", " Negative views: none", "Negative views:"),
        ("?", " What is it? Task: another", "What is it?"),
        ("?", " 这是什么？例如", "这是什么？"),
        (":", " 评论的情感：正面", "评论的情感："),
        (":", "Prompt: Sentence: This is a long one", "Sentence:"),
    ],
)
def test_a_line_ends_with_its_last_character(last: str, reply: str, line: str) -> None:
    assert replace(RULES, last=last).read(reply, False) == (line, "")


def test_a_line_that_was_cut_off_is_longer_than_the_prompt() -> None:
    assert RULES.read(" What is", False)[1] == "longer than the prompt allows"


def test_copies_count_once_and_are_told_apart_by_words_only() -> None:
    parsed = Parsed(Constraints(), known=("Known already",), near=True)
    said = ["What is it?", "what  is it", "What is this?", "Known, already!", "positive", ""]
    for reply in said:
        parsed.read_line(reply, RULES, True, lambda item: "no" if "this" in item.text else "")
    assert [item.text for item in parsed.found] == ["What is it?"]
    assert parsed.dropped == {
        "repeated in the reply": 1,
        "no": 1,
        "already known": 1,
        "answers instead of asking": 1,
        "empty": 1,
    }


@given(st.text(max_size=300), st.booleans())
def test_whatever_is_said_a_line_is_one_printable_line(reply: str, complete: bool) -> None:
    line, reason = RULES.read(reply, complete)
    assert "\n" not in line
    line.encode()
    if not reason:
        assert line.isprintable()
        assert 1 <= len(line.split()) <= 300
        assert line == " ".join(line.split())
