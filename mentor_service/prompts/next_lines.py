"""Texts to continue, for lines of a language model's input: a list of tasks with a prompt each.

Asked by chat to write a prompt, a small model answers the task instead. It continues a list of
other tasks, each with its labels and a prompt, by a prompt for the last one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from mentor_service.prompts.candidate_lists import rounded_scores
from mentor_service.prompts.question_facts import Message, QuestionFacts, labels, plain
from mentorgrad.domain.advice import ProposalKind, TaskCard

_TASK, _LABELS = "Task", "Labels"


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
        return next((kind for kind in cls if kind.last and line.endswith(kind.last)), cls.BEGINNING)


FIELDS = (_TASK, _LABELS, *LineKind)
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
    choice: str
    """A question that names the labels."""
    question: str
    """A question that does not."""
    heading: str
    """A heading."""
    beginning: str
    """The beginning of a sentence that a label completes."""


EXAMPLE_TASKS = (
    ExampleTask(
        "whether an e-mail is spam",
        ("spam", "wanted"),
        ("spam",),
        "Is this e-mail spam or wanted?",
        "What kind of e-mail is this?",
        "Kind of e-mail:",
        "The mail filter marks this e-mail as",
    ),
    ExampleTask(
        "which language a page is written in",
        ("French", "German", "Spanish"),
        ("language", "french", "german", "spanish"),
        "Is this page in French, German or Spanish?",
        "Which language is this page in?",
        "Language of the page:",
        "This page is written in",
    ),
    ExampleTask(
        "which animal a story is about",
        ("cat", "dog", "horse"),
        ("animal", "cat", "dog", "horse"),
        "Is this story about a cat, a dog or a horse?",
        "Which animal is this story about?",
        "Animal in the story:",
        "This is a story about a",
    ),
    ExampleTask(
        "how urgent a request is",
        ("urgent", "later"),
        ("urgent", "urgency", "wait"),
        "Is this request urgent, or can it wait until later?",
        "How urgent is this request?",
        "Urgency of the request:",
        "The person who reads this request marks it as",
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

_WORDS_AROUND_LABELS = 5
"""Words of a question besides the labels that it names."""

_GOAL_ABOVE = 10
"""How far the score of the wanted line is above the best shown."""


def asks_for_line(card: TaskCard, kind: ProposalKind) -> bool:
    """Whether proposals are lines of a language model's input: the card calls them "a line ..."."""
    return kind is ProposalKind.TEXT and _LINE.match(card.proposal) is not None


def next_line(facts: QuestionFacts, kind: LineKind) -> Message:
    """A list of tasks with their prompts; the last task has the lines shown, the worst first, and
    lacks the next one.

    Args:
        facts: The facts; `count` is the number of example tasks.
        kind: Kind of the prompts shown.
    """
    return _listed(facts, kind, "", [""] * len(facts.shown), "")


def next_scored_line(facts: QuestionFacts, kind: LineKind) -> Message:
    """As `next_line`, with a rounded score in front of every prompt once there are lines to show:
    high for the examples, and higher than the best for the next line."""
    if not facts.shown:
        return next_line(facts, kind)
    scores = rounded_scores(facts)
    goal = min(100, max(scores) + _GOAL_ABOVE)
    return _listed(facts, kind, _score(goal), [_score(score) for score in scores], _score(goal))


def example_lines() -> tuple[str, ...]:
    """All prompts of the example tasks."""
    return tuple(
        line
        for task in EXAMPLE_TASKS
        for line in (task.choice, task.question, task.heading, task.beginning)
    )


def example_subjects(card: TaskCard) -> frozenset[str]:
    """Words of the example tasks that do not occur in the card."""
    own = re.findall(r"\w+", " ".join((card.description, *card.labels)).lower())
    return frozenset(word for task in EXAMPLE_TASKS for word in task.subjects).difference(own)


def _listed(
    facts: QuestionFacts, kind: LineKind, example: str, shown: Sequence[str], goal: str
) -> Message:
    """The list; each prompt with what stands behind the name of its field."""
    names_labels = _can_name_labels(facts)
    blocks = [
        _task(task.description, ", ".join(task.labels))
        + f"{kind}{example}: {_example(task, kind, names_labels)}\n"
        for task in EXAMPLE_TASKS[len(EXAMPLE_TASKS) - facts.count :]
    ]
    own = [
        f"{LineKind.of(item.text)}{score}: {plain(item.text)}\n"
        for score, item in zip(shown, facts.shown, strict=True)
    ]
    card = facts.card
    task = _task(plain(card.description), labels(card) if card.labels else "")
    return Message(_CONTINUE, "\n".join([*blocks, f"{task}{''.join(own)}{kind}{goal}:"]))


def _task(description: str, labels: str) -> str:
    parts = ((_TASK, description), (_LABELS, labels))
    return "".join(f"{name}: {text}\n" for name, text in parts if text)


def _example(task: ExampleTask, kind: LineKind, names_labels: bool) -> str:
    if kind is LineKind.QUESTION:
        return task.choice if names_labels else task.question
    return task.heading if kind is LineKind.HEADING else task.beginning


def _can_name_labels(facts: QuestionFacts) -> bool:
    words = " ".join(facts.card.labels).split()
    return 0 < len(words) <= facts.limits.max_words - _WORDS_AROUND_LABELS


def _score(score: int) -> str:
    return f" ({score})"
