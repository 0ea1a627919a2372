"""Questions that a model continues by a line, for objectives whose proposals are such lines."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mentor_service.line_replies import line_forms
from mentor_service.profiles import PROFILES
from mentor_service.prompts import EXAMPLE_TASKS, LineKind
from mentor_service.prompts.next_lines import asks_for_line, example_lines
from mentor_service.protocols import Knowledge, Question, Reply
from mentor_service.similarity import _FUNCTION_WORDS, exact_forms
from mentor_service.strategies import registry
from mentorgrad.domain.advice import (
    AdviseOpen,
    Answer,
    AnswerStatus,
    Constraints,
    Exemplar,
    ProposalKind,
    TaskCard,
)
from mentorgrad.domain.run import Candidate
from mentorgrad.errors import InvalidInput, Unavailable
from tests.support.told_strategy import POINTS, Told, candidate, request
from trainer_service.tasks.builtin import builtin_names

TASKS = Path(__file__).parents[3] / "trainer_service" / "tasks"
MORE_TASKS = Path(__file__).parents[3].parent / "shared" / "tasks"
CARD = TaskCard(
    "causal_prompt",
    "whether a film is worth seeing",
    ("good", "bad"),
    "a line that stands between the text and the answer",
    "between the text and the answer",
)
LIMITS = Constraints(n_tokens=20, max_words=15)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def known(*pool: Candidate, card: TaskCard = CARD, limits: Constraints = LIMITS) -> Knowledge:
    opened = AdviseOpen("session", card, limits)
    return Knowledge(opened, (), {item.candidate_id: item for item in pool}, ())


def other_lines(question: Question, number: int) -> str:
    """A line that no other number has."""
    return f" The film {LETTERS[number // 26 % 26]}{LETTERS[number % 26]} is"


async def answered(
    backend: Told,
    *pool: Candidate,
    count: int = 8,
    name: str = "maao",
    rows: tuple[Exemplar, ...] = (),
    **options: Any,
) -> Answer:
    strategy = registry.create(name, options, PROFILES["small"], "model")
    asked = request(count, exemplars=rows)
    return await strategy.propose(asked, known(*pool), backend)


LINES = (
    candidate("p1", "Is it good?", 1.0, "proposal"),
    candidate("p2", "Verdict on the film:", 0.5, "proposal"),
    candidate("w1", "words of a vector", 0.1),
    candidate("s1", "words of another", 0.2, "snapshot"),
)


async def test_the_text_ends_where_the_next_prompt_begins() -> None:
    backend = Told(other_lines)
    await answered(backend, count=1)
    (asked,) = backend.questions
    assert asked.user == (
        "Task: whether an e-mail is spam\n"
        "Labels: spam, wanted\n"
        "Heading: Kind of e-mail:\n"
        "\n"
        "Task: which language a page is written in\n"
        "Labels: French, German, Spanish\n"
        "Heading: Language of the page:\n"
        "\n"
        "Task: which animal a story is about\n"
        "Labels: cat, dog, horse\n"
        "Heading: Animal in the story:\n"
        "\n"
        "Task: how urgent a request is\n"
        "Labels: urgent, later\n"
        "Heading: Urgency of the request:\n"
        "\n"
        "Task: whether a film is worth seeing\n"
        "Labels: good, bad\n"
        "Heading:"
    )
    assert asked.completes
    assert (asked.samples, asked.max_tokens, asked.repeat_penalty) == (1, 26, 0.0)
    assert "Do not answer the task" in asked.system
    assert not asked.grammar
    assert asked.json_schema is None


async def test_lines_are_shown_the_worst_first_and_every_task_ends_with_a_better_one() -> None:
    backend = Told(other_lines)
    await answered(backend, *LINES, count=1)
    (asked,) = backend.questions
    assert asked.user.startswith(
        "Task: whether an e-mail is spam\n"
        "Labels: spam, wanted\n"
        "Question: What kind of e-mail is this?\n"
        "Beginning of the answer: The mail filter marks this e-mail as\n"
        "Better Heading: Kind of e-mail:\n\n"
    )
    assert asked.user.endswith(
        "Labels: good, bad\nQuestion: Is it good?\nHeading: Verdict on the film:\nBetter Heading:"
    )


async def test_a_whole_sentence_is_shown_as_an_instruction() -> None:
    backend = Told(other_lines)
    said = candidate("s0/description", "Whether a film is bad. Labels: good, bad.", 0.4, "proposal")
    await answered(backend, *LINES, said, count=1)
    assert backend.questions[0].user.endswith(
        "Heading: Verdict on the film:\n"
        "Instruction: Whether a film is bad. Labels: good, bad.\n"
        "Better Heading:"
    )


async def test_opro_writes_a_score_before_each_and_a_higher_one_before_the_next() -> None:
    backend = Told(other_lines)
    await answered(backend, *LINES, count=1, name="opro")
    assert backend.questions[0].user.endswith(
        "Question (35): Is it good?\nHeading (60): Verdict on the film:\nBetter Heading (70):"
    )
    assert (
        "Question (35): What kind of e-mail is this?\n"
        "Beginning of the answer (35): The mail filter marks this e-mail as\n"
        "Better Heading (70): Kind of e-mail:\n"
    ) in backend.questions[0].user
    backend = Told(other_lines)
    await answered(backend, count=1, name="opro")
    assert "Heading: Kind of e-mail:" in backend.questions[0].user


@pytest.mark.parametrize("profile", list(PROFILES))
@pytest.mark.parametrize("name", ["maao", "opro"])
async def test_the_kinds_are_asked_for_in_turn_and_each_reply_is_a_proposal(
    name: str, profile: str
) -> None:
    backend = Told(other_lines)
    strategy = registry.create(name, {}, PROFILES[profile], "model")
    answer = await strategy.propose(request(8), known(), backend)
    assert [question.samples for question in backend.questions] == [3, 3, 2]
    kinds = ("Kind of e-mail:", "The mail filter marks this e-mail as", "kind of e-mail is this?")
    for question, line in zip(backend.questions, kinds, strict=True):
        assert question.completes
        assert line in question.user
    assert [question.last for question in backend.questions] == [":", "", "?"]
    assert len(answer.proposals) == 8
    assert len({question.seed for question in backend.questions}) == 3
    assert answer.detail == ""


@pytest.mark.parametrize(
    ("dry", "samples"),
    [
        ((0,), [3, 4, 3]),  # later kinds replace what the model does not have to say in one
        ((2,), [3, 3, 2, 1]),  # and the first ones, what it does not in the last
        ((1, 2), [3, 3, 4, 3]),
        ((0, 1, 2, 3, 4, 5), [3, 4, 6, 2, 2, 3]),  # all are asked once more in the next round
    ],
)
async def test_other_kinds_replace_what_a_model_does_not_have_to_say(
    dry: tuple[int, ...], samples: list[int]
) -> None:
    asked: list[Question] = []

    async def ask(question: Question) -> Reply:
        count = 1 if len(asked) in dry else question.samples
        asked.append(question)
        texts = tuple(other_lines(question, 26 * len(asked) + number) for number in range(count))
        return Reply(texts, 10, 10, 5, timedelta(seconds=1), ("stop",) * count, True)

    strategy = registry.create("maao", {}, PROFILES["small"], "model")
    answer = await strategy.propose(request(8), known(), ask)
    assert [question.samples for question in asked] == samples
    assert len(answer.proposals) == (6 if len(dry) == 6 else 8)


async def test_a_question_that_has_no_room_for_the_labels_does_not_name_them() -> None:
    backend = Told(other_lines)
    strategy = registry.create("maao", {}, PROFILES["small"], "model")
    await strategy.propose(request(3), known(limits=Constraints(n_tokens=8, max_words=6)), backend)
    assert "What kind of e-mail is this?" in backend.questions[2].user
    assert {question.max_tokens for question in backend.questions} == {11}


async def test_what_was_dropped_is_asked_for_once_more() -> None:
    def every_other(question: Question, number: int) -> str:
        return other_lines(question, number) if number % 2 else " good"

    backend = Told(every_other)
    answer = await answered(backend, count=6)
    assert [question.samples for question in backend.questions] == [2, 2, 2, 1, 1, 1]
    assert len(answer.proposals) == 3 + 1
    assert answer.detail == "dropped 5: 5 answers instead of asking"
    backend = Told(every_other)
    answer = await answered(backend, count=6, calls=1)
    assert len(answer.proposals) == 3


async def test_lines_of_no_use_are_a_typed_outcome() -> None:
    answer = await answered(Told(lambda *_: ""), count=2)
    assert answer.status is AnswerStatus.UNUSABLE
    assert answer.detail == "dropped 4: 4 empty"
    answer = await answered(Told(other_lines, finish="length"), count=2)
    assert answer.detail == "dropped 4: 4 longer than the prompt allows"


async def test_what_was_proposed_before_is_not_proposed_again() -> None:
    answer = await answered(Told(lambda *_: " verdict on the FILM"), *LINES, count=1)
    assert answer.detail == "dropped 2: 2 already known"


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("What?", "Question"),
        ("这是什么？", "Question"),
        ("ما هذا؟", "Question"),
        ("Section:", "Heading"),
        ("情感：", "Heading"),
        ("It is", "Beginning of the answer"),
        ("", "Beginning of the answer"),
    ],
)
def test_the_kind_of_a_line_is_told_by_its_end(line: str, kind: str) -> None:
    assert LineKind.of(line) == kind


@pytest.mark.parametrize(
    ("description", "labels"),
    [
        ("положительный ли отзыв о фильме", ("положительный", "отрицательный")),
        ("电影评论是正面还是负面", ("正面", "负面")),
        ("هل التعليق إيجابي", ("إيجابي", "سلبي")),
    ],
)
async def test_a_task_in_another_script_is_asked_for_and_read(
    description: str, labels: tuple[str, ...]
) -> None:
    backend = Told(lambda question, number: f" {description} {LETTERS[number]}?")
    strategy = registry.create("maao", {}, PROFILES["small"], "model")
    card = replace(CARD, description=description, labels=labels)
    answer = await strategy.propose(request(3), known(card=card), backend)
    assert len(answer.proposals) == 3
    assert answer.detail == ""
    assert f"Task: {description}\nLabels: {', '.join(labels)}\n" in backend.questions[0].user


async def test_lines_known_and_quotations_are_not_to_be_drawn() -> None:
    backend = Told(other_lines)
    await answered(backend, *LINES, count=2)
    first, second = backend.questions
    assert first.distinct
    assert {'"', "Kind of e-mail:"} <= set(first.excluded)
    assert {"good", "bad"} <= set(first.excluded) & set(second.excluded)
    assert {"urgent", "Task:", "->"} <= set(first.excluded)
    assert {"Is it good?", "Verdict on the film:"} <= set(first.known)
    assert set(second.known) - set(first.known) == {"The film aa is"}


@pytest.mark.parametrize(
    ("name", "forms"),
    [("maao", line_forms), ("opro", line_forms), ("evoprompt", exact_forms)],
)
async def test_near_copies_are_not_to_be_drawn_unless_small_edits_are_asked_for(
    name: str, forms: object
) -> None:
    backend = Told(other_lines)
    await answered(backend, *LINES, count=1, name=name)
    assert backend.questions[0].forms is forms


async def test_no_questions_are_asked_for_if_the_label_stands_directly_behind_the_line() -> None:
    backend = Told(other_lines)
    card = replace(CARD, place="between the text and {label}")
    strategy = registry.create("maao", {}, PROFILES["small"], "model")
    answer = await strategy.propose(request(6), known(*LINES, card=card), backend)
    assert len(answer.proposals) == 6
    assert [question.samples for question in backend.questions] == [3, 3]
    assert not any(question.user.endswith("Question:") for question in backend.questions)
    assert all("What kind of e-mail is this?" not in asked.user for asked in backend.questions)


async def test_parents_are_the_lines_shown() -> None:
    answer = await answered(Told(other_lines), *LINES, count=1)
    assert answer.proposals[0].parents == ("p1", "p2")
    assert answer.proposals[0].text == "The film aa is"


async def test_a_hidden_card_leaves_the_examples() -> None:
    backend = Told(other_lines)
    strategy = registry.create("maao", {}, PROFILES["small"], "model")
    hidden = replace(CARD, description="", labels=())
    asked = request(3, exemplars=())
    answer = await strategy.propose(asked, known(card=hidden), backend)
    headings, beginnings, questions = backend.questions
    assert headings.user.endswith("\nHeading: Urgency of the request:\n\nHeading:")
    assert beginnings.user.endswith("marks it as\n\nBeginning of the answer:")
    assert questions.user.endswith("\nQuestion: How urgent is this request?\n\nQuestion:")
    assert len(answer.proposals) == 3


async def test_a_text_beyond_the_context_shows_fewer_lines_then_fewer_examples() -> None:
    def short_context(question: Question, number: int) -> str | InvalidInput:
        if question.user.count("Task:") > 3:
            return InvalidInput("too long", reason="QUESTION_TOO_LONG")
        return other_lines(question, number)

    backend = Told(short_context)
    answer = await answered(backend, *LINES, count=1)
    assert [question.user.count("Heading:") for question in backend.questions] == [6, 6, 5, 3]
    assert answer.proposals
    assert answer.detail == "shortened to 2 of 4 example tasks"

    never = Told(lambda *_: InvalidInput("too long", reason="QUESTION_TOO_LONG"))
    with pytest.raises(InvalidInput):
        await answered(never, count=1)


async def test_lines_found_before_the_backend_failed_are_kept() -> None:
    def fails_late(question: Question, number: int) -> str | Unavailable:
        return other_lines(question, number) if number < 3 else Unavailable("gone")

    answer = await answered(Told(fails_late), count=8)
    assert len(answer.proposals) == 3


@pytest.mark.parametrize("completed", [True, False])
async def test_the_record_says_whether_the_text_was_continued(completed: bool) -> None:
    async def ask(question: Question) -> Reply:
        texts = tuple(other_lines(question, number) for number in range(question.samples))
        finishes = ("stop",) * question.samples
        return Reply(texts, 10, 10, 5, timedelta(seconds=1), finishes, completed)

    strategy = registry.create("maao", {}, PROFILES["small"], "model")
    answer = await strategy.propose(request(1, exemplars=()), known(), ask)
    recorded = answer.records[0].question
    assert recorded.startswith("[text to continue]\nTask:" if completed else "Continue the list")
    assert recorded.endswith("Heading:")


async def test_the_form_is_an_option() -> None:
    backend = Told(lambda *_: "1. some words\n")
    await answered(backend, count=1, form="chat")
    assert not backend.questions[0].completes
    assert backend.questions[0].grammar


@pytest.mark.parametrize("proposal", ["", "a phrase that is put in front", "an outline"])
def test_other_proposals_are_no_lines(proposal: str) -> None:
    assert asks_for_line(CARD, LIMITS.kind)
    assert not asks_for_line(CARD, ProposalKind.NUMBERS)
    assert not asks_for_line(replace(CARD, proposal=proposal), LIMITS.kind)


async def test_numbers_are_asked_for_as_ever() -> None:
    backend = Told(lambda *_: "1. 1 2 3\n")
    strategy = registry.create("maao", {}, PROFILES["small"], "model")
    await strategy.propose(request(1), known(limits=POINTS), backend)
    assert not backend.questions[0].completes


def _words(*texts: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", " ".join(texts).lower())) - _FUNCTION_WORDS - {"whether"}


PUBLIC_TASKS = {
    "agnews": (
        "which section of a newspaper an article belongs to",
        "world sports business sci tech",
    ),
    "boolq": ("whether a passage answers a question with yes or no", "no yes"),
    "cb": (
        "whether the first text commits its speaker to the second",
        "entailment contradiction neutral",
    ),
    "cola": ("whether a sentence is acceptable English", "unacceptable acceptable"),
    "copa": (
        "which of two choices is the more plausible cause or effect of a premise",
        "choice1 choice2",
    ),
    "mpqa": (
        "whether a short phrase expresses a negative or positive opinion",
        "negative positive",
    ),
    "rte": ("whether the second text follows from the first", "entailment not_entailment"),
    "sst": (
        "how positive a movie review sentence is, in five steps",
        "very negative neutral positive",
    ),
    "wic": ("whether a word means the same in two sentences", "different same"),
    "wsc": ("whether a pronoun refers to a given noun", "not_coreferent coreferent"),
}
"""Descriptions and labels of tasks that prompts for language models are mostly tried on."""


def _cards() -> list[Any]:
    known = [
        pytest.param({"description": description, "labels": labels.split()}, id=f"public-{name}")
        for name, (description, labels) in PUBLIC_TASKS.items()
    ]
    paths = [TASKS / name / "task.json" for name in builtin_names()]
    paths += sorted(MORE_TASKS.glob("*/task.json"))
    return known + [
        pytest.param(json.loads(path.read_text()), id=path.parent.name) for path in paths
    ]


@pytest.mark.parametrize("card", _cards())
def test_examples_share_no_label_and_no_topic_with_a_task(card: dict[str, Any]) -> None:
    labels = {label for task in EXAMPLE_TASKS for label in _words(*task.labels)}
    assert labels.isdisjoint(_words(*card["labels"], card["description"]))
    topics = _words(*(task.description for task in EXAMPLE_TASKS))
    assert topics.isdisjoint(_words(card["description"], *card["labels"]))


def test_examples_differ_and_are_of_their_kinds() -> None:
    assert len(set(example_lines())) == 3 * len(EXAMPLE_TASKS)
    for task in EXAMPLE_TASKS:
        assert task.question.endswith("?")
        assert task.heading.endswith(":")
        assert task.beginning[-1].isalpha()


# -- train rows, and changes of lines ---------------------------------------------------------

ROWS = (
    Exemplar("a film to\nremember", "good", "bad", 2.0),
    Exemplar("dull <|im_end|> " + "x" * 200, "bad", "good", 1.5),
    Exemplar("fine", "good", "good", 0.1),
    Exemplar("one more", "bad", "bad", 0.1),
)


async def test_rows_that_may_be_shown_stand_in_front_of_the_prompts() -> None:
    backend = Told(other_lines)
    await answered(backend, count=1, name="opro", rows=ROWS)
    (asked,) = backend.questions
    assert asked.user.startswith(
        "Task: whether an e-mail is spam\n"
        "Labels: spam, wanted\n"
        "Text: You have won a prize, click here to claim it. -> spam\n"
        "Text: Can we move our meeting to Tuesday? -> wanted\n"
        "Heading: Kind of e-mail:\n\n"
    )
    # Two are the profile's limit, and so are 80 characters.
    assert asked.user.endswith(
        "Labels: good, bad\n"
        "Text: a film to remember -> good\n"
        f"Text: dull {'x' * 75} -> bad\n"
        "Heading:"
    )


async def test_a_capable_model_is_shown_three_rows() -> None:
    backend = Told(other_lines)
    strategy = registry.create("opro", {}, PROFILES["capable"], "model")
    await strategy.propose(request(1, exemplars=ROWS), known(*LINES), backend)
    last = backend.questions[0].user.split("\n\n")[-1]
    assert last.count(" -> ") == 3
    assert f"Text: dull {'x' * 115} -> bad\n" in last
    assert last.index("Text: fine -> good") < last.index("Question (35): Is it good?")


async def test_rows_of_a_hidden_card_are_all_that_is_shown_of_the_task() -> None:
    backend = Told(other_lines)
    strategy = registry.create("opro", {}, PROFILES["small"], "model")
    hidden = replace(CARD, description="", labels=())
    rows = (Exemplar("a film", "class 1", "class 2", 1.0),)
    await strategy.propose(request(1, exemplars=rows), known(card=hidden), backend)
    assert backend.questions[0].user.endswith("\n\nText: a film -> class 1\nHeading:")


@pytest.mark.parametrize("name", ["maao", "evoprompt"])
async def test_strategies_that_want_no_rows_show_none(name: str) -> None:
    backend = Told(other_lines)
    await answered(backend, *LINES, count=1, name=name, rows=ROWS)
    assert " -> " not in backend.questions[0].user


async def test_a_text_beyond_the_context_leaves_out_the_rows_first() -> None:
    def short_context(question: Question, number: int) -> str | InvalidInput:
        if "->" in question.user:
            return InvalidInput("too long", reason="QUESTION_TOO_LONG")
        return other_lines(question, number)

    answer = await answered(Told(short_context), count=1, name="opro", rows=ROWS)
    assert answer.detail == "shortened by the train rows"


async def test_a_line_that_shows_a_row_is_dropped() -> None:
    answer = await answered(Told(lambda *_: " dull and long -> worst"), count=1, name="opro")
    assert answer.detail == "dropped 2: 2 shows a row"


async def test_reflect_shows_a_line_with_what_it_gets_wrong_and_asks_for_a_better_one() -> None:
    backend = Told(other_lines)
    answer = await answered(backend, *LINES, count=3, name="reflect", rows=ROWS)
    headings, beginnings, questions = backend.questions
    assert headings.user.startswith(
        "Task: whether an e-mail is spam\n"
        "Labels: spam, wanted\n"
        "Question: Is this e-mail polite?\n"
        "Fails on: You have won a prize, click here to claim it. -> spam\n"
        "Better Heading: Kind of e-mail:\n\n"
    )
    assert headings.user.endswith(
        "Labels: good, bad\n"
        "Heading: Verdict on the film:\n"
        "Fails on: a film to remember -> good\n"
        f"Fails on: dull {'x' * 75} -> bad\n"
        "Better Heading:"
    )
    assert beginnings.user.endswith("\nBetter Beginning of the answer:")
    assert questions.user.endswith("\nBetter Question:")
    assert all(question.completes for question in backend.questions)
    assert {(p.parents, p.base_id) for p in answer.proposals} == {(("p2",), "p2")}


async def test_reflect_without_rows_or_lines_asks_for_what_it_can() -> None:
    backend = Told(other_lines)
    await answered(backend, *LINES, count=1, name="reflect")
    assert "Fails on" not in backend.questions[0].user
    assert "Question: Is this e-mail polite?\nBetter Heading:" in backend.questions[0].user
    backend = Told(other_lines)
    await answered(backend, LINES[2], count=1, name="reflect", rows=ROWS)
    assert backend.questions[0].user.endswith("Labels: good, bad\nHeading:")


async def test_evoprompt_shows_two_lines_and_asks_for_a_better_one() -> None:
    backend = Told(other_lines)
    answer = await answered(backend, *LINES, count=4, name="evoprompt")
    assert len(backend.questions) == 4
    first = backend.questions[0].user
    assert first.startswith(
        "Task: whether an e-mail is spam\n"
        "Labels: spam, wanted\n"
        "Question: What kind of e-mail is this?\n"
        "Beginning of the answer: The mail filter marks this e-mail as\n"
        "Better Heading: Kind of e-mail:\n\n"
    )
    assert first.endswith(
        "Labels: good, bad\nQuestion: Is it good?\nHeading: Verdict on the film:\nBetter Heading:"
    )
    assert [question.last for question in backend.questions] == [":", "", "?", ":"]
    assert {frozenset(proposal.parents) for proposal in answer.proposals} == {
        frozenset({"p1", "p2"})
    }


async def test_evoprompt_without_parents_asks_for_a_first_line() -> None:
    backend = Told(other_lines)
    await answered(backend, LINES[0], count=1, name="evoprompt")
    assert backend.questions[0].user.endswith("bad\nQuestion: Is it good?\nBetter Heading:")


@pytest.mark.parametrize("options", [{"name": "reflect"}, {"name": "evoprompt"}])
async def test_by_chat_they_ask_as_ever(options: dict[str, str]) -> None:
    backend = Told(lambda *_: "1. some words\n")
    await answered(backend, *LINES, count=1, rows=ROWS, form="chat", **options)
    assert not any(question.completes for question in backend.questions)


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        (" Verdict of a film:", "dropped 2: 2 near duplicate"),
        (" Film verdict:", "dropped 2: 2 near duplicate"),
        (" verdict on the FILM :", "dropped 2: 2 already known"),
        (" Verdict on the actor:", ""),
    ],
)
async def test_near_copies_of_lines_that_were_shown_are_dropped(line: str, detail: str) -> None:
    answer = await answered(Told(lambda *_: line), *LINES, count=1)
    assert answer.detail == detail


async def test_near_copies_count_once() -> None:
    said = [" Film verdict:", " Verdict of the film:", " The verdict on the film is"]
    answer = await answered(Told(lambda _, number: said[number % 3]), count=3, calls=1)
    assert [item.text for item in answer.proposals] == ["Film verdict:", said[2].strip()]
    assert answer.detail == "dropped 1: 1 near duplicate"
