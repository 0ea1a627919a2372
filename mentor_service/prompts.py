"""Every question that is put to an LLM. Examples in them are written by `formats`.

Texts from outside (descriptions, labels, projected words) go through `plain`, so that they cannot
carry line breaks or a chat template's own marks into a question.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mentor_service.formats import json_reply, number_format, number_line, text_line
from mentorgrad.model.advice import Constraints, ProposalKind, TaskCard

EXAMPLE_PHRASES = (
    "a guest asks about the",
    "complaint of a hotel guest about",
    "I am writing because of my",
    "please help me with the",
)
"""Phrases of the worked example for small models; a reply that repeats one brings no news."""

_EXAMPLE_TOPIC = "what a guest's letter to a hotel is about"
_EXAMPLE_WORDS = ("room", "breakfast", "noise")
_EXAMPLE_SUBJECTS = frozenset({"hotel", "guest", "guests", "hotels", *_EXAMPLE_WORDS})

_MARKS = re.compile(r"<\|.*?\|>|</?s>|\[/?INST\]|<(?:start|end)_of_turn>")
_SHOWN_LABELS = 30
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True)
class Shown:
    """One entry of the trajectory as a question shows it."""

    text: str
    """Words, or the numbers."""
    loss: float
    """On the selection split."""
    accuracy: float | None = None
    """On the selection split, where there are classes."""
    toward: str = ""
    """Words that the descent moved towards."""
    source: str = ""
    """``snapshot``, ``projection`` or ``proposal``."""


def plain(text: str) -> str:
    """One line of printable text without a chat template's marks, of bounded length."""
    line = "".join(char if char.isprintable() else " " for char in _MARKS.sub(" ", text))
    return " ".join(line.split())[:_SHOWN_CHARACTERS]


def foreign_words(card: TaskCard) -> frozenset[str]:
    """Words of the worked example that have no business in proposals for this task."""
    own = re.findall(r"\w+", f"{card.description} {' '.join(card.labels)}".lower())
    return _EXAMPLE_SUBJECTS.difference(own)


def small(
    card: TaskCard, constraints: Constraints, shown: Sequence[Shown], count: int
) -> tuple[str, str]:
    """System and user message for a small model.

    A small model follows an example rather than a rule, and copies a list of losses; so the
    example is of another topic, and of the losses it sees only the order and the figure.
    """
    if constraints.kind is ProposalKind.NUMBERS:
        return "", _small_numbers(card, constraints, shown, count)
    example = "\n".join(text_line(n, text) for n, text in enumerate(EXAMPLE_PHRASES, start=1))
    lines = [
        "Put a short phrase in front of a word so that it says what a text is about.",
        "",
        f"Topic: {_EXAMPLE_TOPIC}",
        f"Words: {', '.join(_EXAMPLE_WORDS)}",
        "Phrases:",
        example,
        "",
        f"Topic: {_topic(card)}",
        f"Words: {_labels(card)}",
    ]
    if shown:
        lines.append("Earlier tries, the worst first, with their loss:")
        lines.extend(f"{plain(item.text)} ({item.loss:.3f})" for item in shown)
    lines.append(f"Write {count} new and different phrases.")
    return "", "\n".join(lines)


def _small_numbers(
    card: TaskCard, constraints: Constraints, shown: Sequence[Shown], count: int
) -> str:
    form = number_format(constraints)
    low, high = form.write(constraints.lower), form.write(constraints.upper)
    lines = [
        f"Find the point where a function of {constraints.dimensions} numbers is lowest: "
        f"{_topic(card)}.",
        f"Every number lies between {low} and {high}.",
    ]
    if shown:
        lines.append("Points so far, the worst first, with their value:")
        lines.extend(f"{plain(item.text)} has value {item.loss:.3f}" for item in shown)
    middle = (constraints.lower + constraints.upper) / 2
    example = number_line(1, [middle] * min(constraints.dimensions, 8), form)
    lines.append(f"A point is written like this: {example.partition(' ')[2]}")
    lines.append(f"Write {count} new and different points.")
    return "\n".join(lines)


def capable(
    card: TaskCard, constraints: Constraints, shown: Sequence[Shown], count: int
) -> tuple[str, str]:
    """System and user message for a model that follows instructions."""
    numbers = constraints.kind is ProposalKind.NUMBERS
    system = (
        "You advise an optimiser. Gradient descent improves a parameter step by step and gets "
        "stuck; you read where it has been and how well each point did, and propose better points "
        "to start again from. Proposals are tried out: make them differ from each other and from "
        "what was tried, some close to the best points, some far away. Answer with JSON only."
    )
    lines = _numbers_rules(card, constraints) if numbers else _text_rules(card, constraints)
    if shown:
        lines += ["", "Tried so far, the worst first:"]
        lines.extend(_capable_entry(item) for item in shown)
    phrase = " ".join(EXAMPLE_PHRASES[0].split()[: constraints.max_words])
    content: dict[str, object] = {"text": phrase}
    if numbers:
        middle = (constraints.lower + constraints.upper) / 2
        content = {"values": [middle] * min(constraints.dimensions, 8)}
    example = json_reply([{"rationale": "why, in at most ten words", **content}])
    lines += ["", f"Propose {count} new points, in this form: {example}"]
    return system, "\n".join(lines)


def _text_rules(card: TaskCard, constraints: Constraints) -> list[str]:
    return [
        f"Task: classify texts by {_topic(card)}.",
        f"Classes: {_labels(card)}.",
        "The parameter is a phrase that is put in front of each class name; a text belongs to the "
        "class whose phrase and name together are nearest to it in meaning.",
        f"A proposal has at most {constraints.max_words} words of plain letters, without "
        "punctuation, and must make sense in front of every class name.",
        "The words shown for points of the descent are the nearest ones to continuous vectors, so "
        "they may read oddly; loss is what counts, and lower is better.",
    ]


def _numbers_rules(card: TaskCard, constraints: Constraints) -> list[str]:
    return [
        f"Task: minimise a function: {_topic(card)}.",
        f"A point has {constraints.dimensions} numbers, each between {constraints.lower:g} and "
        f"{constraints.upper:g}. Lower loss is better.",
    ]


def _capable_entry(item: Shown) -> str:
    parts = [f"loss {item.loss:.4f}"]
    if item.accuracy is not None:
        parts.append(f"accuracy {item.accuracy:.3f}")
    if item.source:
        parts.append(item.source)
    entry = f"- {plain(item.text)} ({', '.join(parts)})"
    return f"{entry}; moved towards: {plain(item.toward)}" if item.toward else entry


def repair(problem: str, count: int) -> str:
    """What is added when the last reply could not be used."""
    return (
        f"The last answer could not be used ({plain(problem)}). Propose {count}, in the form above."
    )


def _topic(card: TaskCard) -> str:
    return plain(card.description) or plain(card.objective) or "not described"


def _labels(card: TaskCard) -> str:
    labels = [plain(label) for label in card.labels[:_SHOWN_LABELS]]
    more = ", ..." if len(card.labels) > _SHOWN_LABELS else ""
    return ", ".join(label for label in labels if label) + more if labels else "none"
