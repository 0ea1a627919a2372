"""Texts to continue, for lines of a language model's input: a list of tasks with a prompt each.

Asked by chat to write a prompt, a small model answers the task instead. It continues a list of
other tasks, each with its labels and a prompt, by a prompt for the last one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from mentor_service.prompts.candidate_lists import rounded_scores
from mentor_service.prompts.question_facts import (
    LABEL,
    Message,
    QuestionFacts,
    Shown,
    labels,
    plain,
)
from mentorgrad.domain.advice import ProposalKind, TaskCard

_TASK, _LABELS, _TEXT, _FAILS = "Task", "Labels", "Text", "Fails on"

_STATEMENT = "Instruction"
"""Field of a line that is a whole sentence, such as a task's description; none is asked for."""

_BETTER = "Better "
"""Stands in front of the field of a prompt that improves on those above it."""


class LineKind(StrEnum):
    """Kind of a prompt; the value is the name of its field in the list."""

    QUESTION = "Question"
    HEADING = "Heading"
    BEGINNING = "Beginning of the answer"
    """Beginning of a sentence that a label completes."""

    @property
    def last(self) -> str:
        """Character that ends a prompt of this kind; empty: none."""
        return {LineKind.QUESTION: "?", LineKind.HEADING: ":"}.get(self, "")

    @classmethod
    def of(cls, line: str) -> LineKind:
        """The kind of a line, by its last character."""
        kinds = {"?？؟": cls.QUESTION, ":：": cls.HEADING}
        return next(
            (kind for ends, kind in kinds.items() if line.endswith(tuple(ends))), cls.BEGINNING
        )


FIELDS = (_TASK, _LABELS, _TEXT, _FAILS, _STATEMENT, *LineKind)
"""Names of the fields of a task in the list; a line that contains one runs on."""


@dataclass(frozen=True)
class ExampleTask:
    """A task of the list, with a prompt of each kind."""

    description: str
    """One-line description."""
    labels: tuple[str, ...]
    """Label words."""
    subjects: tuple[str, ...]
    """Words of the prompts that have nothing to do with other tasks."""
    question: str
    """A question that names no label."""
    heading: str
    """A heading."""
    beginning: str
    """The beginning of a sentence that a label completes."""
    weak: str
    """A question about something else."""
    rows: tuple[tuple[str, str], ...]
    """Two texts with their labels."""


EXAMPLE_TASKS = (
    ExampleTask(
        "whether an e-mail is spam",
        ("spam", "wanted"),
        ("spam",),
        "What kind of e-mail is this?",
        "Kind of e-mail:",
        "The mail filter marks this e-mail as",
        "Is this e-mail polite?",
        (
            ("You have won a prize, click here to claim it.", "spam"),
            ("Can we move our meeting to Tuesday?", "wanted"),
        ),
    ),
    ExampleTask(
        "which language a page is written in",
        ("French", "German", "Spanish"),
        ("language", "french", "german", "spanish"),
        "Which language is this page in?",
        "Language of the page:",
        "This page is written in",
        "Who wrote this page?",
        (
            ("Où est la gare, s'il vous plaît ?", "French"),
            ("Ich habe heute keine Zeit.", "German"),
        ),
    ),
    ExampleTask(
        "which animal a story is about",
        ("cat", "dog", "horse"),
        ("animal", "cat", "dog", "horse"),
        "Which animal is this story about?",
        "Animal in the story:",
        "This is a story about a",
        "Where does this story take place?",
        (
            ("She purred and jumped onto the window sill.", "cat"),
            ("He barked at the postman every morning.", "dog"),
        ),
    ),
    ExampleTask(
        "how urgent a request is",
        ("urgent", "later"),
        ("urgent", "urgency"),
        "How urgent is this request?",
        "Urgency of the request:",
        "The person who reads this request marks it as",
        "Who makes this request?",
        (
            ("Water drips through the ceiling, please come at once.", "urgent"),
            ("Could you tidy the garden some day?", "later"),
        ),
    ),
)
"""Tasks of topics and labels that hardly any other task has; the last ones are the last to be left
out of a question that is too long."""

_CONTINUE = (
    "Continue the list with what its last task lacks, in the manner of the others. Write this "
    "one line and nothing else. Do not answer the task."
)
"""Instruction for a chat that stands in for a continuation."""

_LINE = re.compile(r"\s*a line\b", re.IGNORECASE)

_ROWS = 3
"""Maximum train rows of the last task."""

_ROW_CHARACTERS = 120
"""Maximum characters of a train row, besides the profile's limit."""

ARROW = "->"
"""Stands between a row's text and its label; no prompt contains it."""

_GOAL_ABOVE = 10
"""How far the score of the wanted line is above the best shown."""


def kinds_for(card: TaskCard) -> tuple[LineKind, ...]:
    """The kinds of prompts to ask for: no questions if the label stands directly behind the prompt,
    which the card's place then names."""
    if LABEL not in card.place:
        return tuple(LineKind)
    return LineKind.HEADING, LineKind.BEGINNING


def asks_for_line(card: TaskCard, kind: ProposalKind) -> bool:
    """Whether proposals are lines of a language model's input: the card calls them "a line ..."."""
    return kind is ProposalKind.TEXT and _LINE.match(card.proposal) is not None


def next_line(facts: QuestionFacts, kind: LineKind) -> Message:
    """A list of tasks with a prompt each, which the last task lacks.

    Train rows, if there are any, stand in front of the prompts of every task. If there are lines to
    show, the last task has them, the worst first, and the others have prompts of the other kinds in
    front of a better one: without a model of that, a language model repeats the lines shown.

    Args:
        facts: The facts; `count` is the number of example tasks.
        kind: Kind of the prompt that the last task lacks.
    """
    return _next(facts, kind, [""] * len(facts.shown), "")


def next_scored_line(facts: QuestionFacts, kind: LineKind) -> Message:
    """As `next_line`, with a rounded score in front of every prompt once there are lines to show:
    a higher one than the best for the next line and the last of the examples."""
    if not facts.shown:
        return next_line(facts, kind)
    scores = rounded_scores(facts)
    goal = min(100, max(scores) + _GOAL_ABOVE)
    return _next(facts, kind, [_score(score) for score in scores], _score(goal))


def next_child(facts: QuestionFacts, kind: LineKind, parents: Sequence[Shown]) -> Message:
    """As `next_line`, with two parents as the lines shown, the worse first."""
    return next_line(replace(facts, shown=tuple(parents)), kind)


def better_line(facts: QuestionFacts, kind: LineKind, present: Shown) -> Message:
    """A list of tasks with a prompt, a text that it gets wrong, and a better prompt; the last task
    lacks the better one.

    Args:
        facts: The facts, with the train rows that `present` gets wrong; without rows, no task has
            any.
        kind: Kind of the better prompts.
        present: The prompt to improve.
    """

    def lines(task: ExampleTask) -> list[str]:
        wrong = [_row(_FAILS, *task.rows[0])] if facts.exemplars else []
        return [_prompt(task.weak), *wrong, f"{_BETTER}{kind}: {_example(task, kind)}"]

    own = [_prompt(present.text), *_rows(facts, _FAILS)]
    return _listed(facts, lines, own, f"{_BETTER}{kind}")


def example_lines() -> tuple[str, ...]:
    """All prompts of the example tasks but the weak ones."""
    return tuple(
        line for task in EXAMPLE_TASKS for line in (task.question, task.heading, task.beginning)
    )


def example_subjects(card: TaskCard) -> frozenset[str]:
    """Words of the example tasks that do not occur in the card."""
    own = re.findall(r"\w+", " ".join((card.description, *card.labels)).lower())
    return frozenset(word for task in EXAMPLE_TASKS for word in task.subjects).difference(own)


def _next(facts: QuestionFacts, kind: LineKind, marks: Sequence[str], goal: str) -> Message:
    """The list of `next_line`, with marks behind the fields of the lines shown, and one behind the
    field of the line that is missing."""
    worst = next(iter(marks), "")
    field = f"{_BETTER if facts.shown else ''}{kind}{goal}"
    others = [other for other in kinds_for(facts.card) if other is not kind] if facts.shown else []

    def lines(task: ExampleTask) -> list[str]:
        rows = [_row(_TEXT, *row) for row in task.rows] if facts.exemplars else []
        parts = [f"{other}{worst}: {_example(task, other)}" for other in others]
        return [*rows, *parts, f"{field}: {_example(task, kind)}"]

    own = [_prompt(item.text, mark) for item, mark in zip(facts.shown, marks, strict=True)]
    return _listed(facts, lines, [*_rows(facts, _TEXT), *own], field)


def _listed(
    facts: QuestionFacts,
    lines: Callable[[ExampleTask], Sequence[str]],
    own: Sequence[str],
    missing: str,
) -> Message:
    """The list.

    Args:
        facts: The facts.
        lines: Lines of an example task below its labels.
        own: Those of the last task.
        missing: Name of the field that the last task lacks.
    """
    blocks = [
        [*_head(task.description, ", ".join(task.labels)), *lines(task), ""]
        for task in EXAMPLE_TASKS[len(EXAMPLE_TASKS) - facts.count :]
    ]
    card = facts.card
    head = _head(plain(card.description), labels(card) if card.labels else "")
    written = [line for block in blocks for line in block]
    return Message(_CONTINUE, "\n".join([*written, *head, *own, f"{missing}:"]))


def _head(description: str, labels: str) -> list[str]:
    parts = ((_TASK, description), (_LABELS, labels))
    return [f"{name}: {text}" for name, text in parts if text]


def _prompt(text: str, mark: str = "") -> str:
    field = _STATEMENT if text.endswith(".") else LineKind.of(text)
    return f"{field}{mark}: {plain(text)}"


def _rows(facts: QuestionFacts, field: str) -> list[str]:
    longest = min(facts.profile.exemplar_characters, _ROW_CHARACTERS)
    return [
        _row(field, plain(row.text, longest), plain(row.label)) for row in facts.exemplars[:_ROWS]
    ]


def _row(field: str, text: str, label: str) -> str:
    return f"{field}: {text} {ARROW} {label}"


def _example(task: ExampleTask, kind: LineKind) -> str:
    """The example of a kind. Questions that name the labels were tried too: a language model
    answers worse behind them than behind any other kind, since they shift its preferences."""
    if kind is LineKind.QUESTION:
        return task.question
    return task.heading if kind is LineKind.HEADING else task.beginning


def _score(score: int) -> str:
    return f" ({score})"
