"""What questions are made of: the facts, and the blocks that most questions share.

Texts from outside (descriptions, labels, projected words, train rows) go through `plain`, so that
they cannot carry line breaks or a chat template's own marks into a question.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mentor_service.formats import json_reply, number_format, number_line, text_line
from mentor_service.profiles import Profile
from mentorgrad.domain.advice import Constraints, Exemplar, PositionHints, ProposalKind, TaskCard

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

_ADVISER = (
    "You advise an optimiser. Gradient descent improves a parameter step by step and gets "
    "stuck; you read where it has been and how well each point did, and propose better points "
    "to start again from. Proposals are tried out: make them differ from each other and from "
    "what was tried. Answer with JSON only."
)

_LEADS = {
    "instruct": "Put a short phrase in front of a word so that it says what a text is about.",
    "bare": "",
    "role": "You are an editor who writes short phrases that say what a text is about. Each stands "
    "in front of a word.",
}
"""How the instruction is worded for models that are shown an example, by the option `wording`."""

_ADVISERS = {
    "instruct": _ADVISER,
    "bare": "Answer with JSON only.",
    "role": f"You are the most experienced mentor of a young optimiser. {_ADVISER}",
}
"""The same for models that are told rules."""

WORDINGS = tuple(_LEADS)
"""Ways to word the instruction, the default first."""

_MARKS = re.compile(r"<\|.*?\|>|</?s>|\[/?INST\]|<(?:start|end)_of_turn>")
_SHOWN_LABELS = 30
_SHOWN_CHARACTERS = 200
_SHOWN_WORDS = 60


class Message(NamedTuple):
    """A question in words."""

    system: str
    """The instruction; empty where the profile takes none."""
    user: str
    """The question."""


@dataclass(frozen=True)
class Shown:
    """One candidate as a question shows it."""

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


@dataclass(frozen=True)
class QuestionFacts:
    """The facts of one question."""

    card: TaskCard
    """The job."""
    limits: Constraints
    """What a proposal must satisfy; `max_words` is what the profile writes at most."""
    profile: Profile
    """What form of question the model can follow."""
    count: int
    """Proposals that one reply should hold."""
    shown: tuple[Shown, ...] = ()
    """Candidates, the worst first; fewer than the strategy chose when the question was too long."""
    hints: tuple[PositionHints, ...] = ()
    """Gradient hints to show; empty unless the strategy or its options say so."""
    only: tuple[str, ...] = ()
    """The only words that a proposal may have; empty: any."""
    exemplars: tuple[Exemplar, ...] = ()
    """Train rows to show."""
    problem: str = ""
    """What was wrong with earlier replies to this question; empty the first time."""
    wording: str = WORDINGS[0]
    """How the instruction is worded; one of `WORDINGS`."""

    @property
    def numbers(self) -> bool:
        """Whether proposals are points, not phrases."""
        return self.limits.kind is ProposalKind.NUMBERS

    def things(self, count: int | None = None) -> str:
        """``phrase`` or ``points``, as the number and the kind of proposals ask for."""
        thing = "point" if self.numbers else "phrase"
        return thing if count == 1 else f"{thing}s"

    def wanted(self, what: str = "") -> str:
        """``Write 4 new phrases`` in the profile's voice; `what` stands before the noun."""
        verb = "Propose" if self.profile.rules else "Write"
        return " ".join(filter(None, [verb, str(self.count), what, self.things(self.count)]))


def compose(facts: QuestionFacts, context: Sequence[str], wish: str) -> Message:
    """A question for proposals: the task, what the strategy shows, and what it wants.

    A model that follows rules is told them; another one follows an example rather than a rule, and
    so is shown one, of another topic.

    Args:
        facts: The facts.
        context: Lines that the strategy shows.
        wish: What it wants, in one or two sentences.
    """
    context = [*context, *_hint_lines(facts)]
    if not facts.profile.rules:
        head = _number_head(facts) if facts.numbers else _word_head(facts)
        tail = _number_tail(facts) if facts.numbers else []
        return Message("", "\n".join([*head, *context, *tail, wish]))
    rules = _number_rules(facts) if facts.numbers else _word_rules(facts)
    gap = [""] if context else []
    lines = [*rules, *gap, *context, "", f"{wish} Answer in this form: {_json_example(facts)}"]
    if facts.problem:
        lines.append(_repair(facts))
    return Message(_ADVISERS[facts.wording], "\n".join(lines))


def entries(facts: QuestionFacts, heading: str, shown: Sequence[Shown] | None = None) -> list[str]:
    """Candidates with their losses under a heading; nothing where there are none."""
    shown = facts.shown if shown is None else shown
    mark = "- " if facts.profile.details else ""
    return [heading, *(mark + entry(facts, item) for item in shown)] if shown else []


def entry(facts: QuestionFacts, item: Shown) -> str:
    """One candidate with its loss."""
    text = plain(item.text)
    if not facts.profile.details:
        figure = f"{item.loss:.3f}"
        return f"{text} has value {figure}" if facts.numbers else f"{text} ({figure})"
    parts = [f"loss {item.loss:.4f}"]
    if item.accuracy is not None:
        parts.append(f"accuracy {item.accuracy:.3f}")
    if item.source:
        parts.append(item.source)
    line = f"{text} ({', '.join(parts)})"
    return f"{line}; moved towards: {plain(item.toward)}" if item.toward else line


def quoted(facts: QuestionFacts, row: Exemplar) -> str:
    """A train row's text in quotation marks, cut to what the profile shows."""
    text = plain(row.text, facts.profile.exemplar_characters).replace('"', "'")
    return f'"{text}"'


def plain(text: str, longest: int = _SHOWN_CHARACTERS) -> str:
    """One line of printable text without a chat template's marks, of bounded length."""
    line = "".join(char if char.isprintable() else " " for char in _MARKS.sub(" ", text))
    return " ".join(line.split())[:longest]


def foreign_words(card: TaskCard) -> frozenset[str]:
    """Words of the worked example that have no business in proposals for this task."""
    own = re.findall(r"\w+", f"{card.description} {' '.join(card.labels)}".lower())
    return _EXAMPLE_SUBJECTS.difference(own)


def topic(card: TaskCard) -> str:
    """What the task is about, in one line."""
    return plain(card.description) or plain(card.objective) or "not described"


def labels(card: TaskCard) -> str:
    """The label words, the first ones where there are many."""
    shown = [plain(label) for label in card.labels[:_SHOWN_LABELS]]
    more = ", ..." if len(card.labels) > _SHOWN_LABELS else ""
    return ", ".join(label for label in shown if label) + more if shown else "none"


def _word_head(facts: QuestionFacts) -> list[str]:
    lead = _LEADS[facts.wording]
    return [
        *([lead, ""] if lead else []),
        f"Topic: {_EXAMPLE_TOPIC}",
        f"Words: {', '.join(_EXAMPLE_WORDS)}",
        "Phrases:",
        *(text_line(number, text) for number, text in enumerate(EXAMPLE_PHRASES, start=1)),
        "",
        f"Topic: {topic(facts.card)}",
        f"Words: {labels(facts.card)}",
    ]


def _number_head(facts: QuestionFacts) -> list[str]:
    limits = facts.limits
    form = number_format(limits)
    return [
        f"Find the point where a function of {limits.dimensions} numbers is lowest: "
        f"{topic(facts.card)}.",
        f"Every number lies between {form.write(limits.lower)} and {form.write(limits.upper)}.",
    ]


def _number_tail(facts: QuestionFacts) -> list[str]:
    line = number_line(1, _middle(facts.limits), number_format(facts.limits))
    return [f"A point is written like this: {line.partition(' ')[2]}"]


def _word_rules(facts: QuestionFacts) -> list[str]:
    return [
        f"Task: classify texts by {topic(facts.card)}.",
        f"Classes: {labels(facts.card)}.",
        "The parameter is a phrase that is put in front of each class name; a text belongs to the "
        "class whose phrase and name together are nearest to it in meaning.",
        f"A proposal has at most {facts.limits.max_words} words of plain letters, without "
        "punctuation, and must make sense in front of every class name.",
        "The words shown for points of the descent are the nearest ones to continuous vectors, so "
        "they may read oddly; loss is what counts, and lower is better.",
    ]


def _number_rules(facts: QuestionFacts) -> list[str]:
    limits = facts.limits
    return [
        f"Task: minimise a function: {topic(facts.card)}.",
        f"A point has {limits.dimensions} numbers, each between {limits.lower:g} and "
        f"{limits.upper:g}. Lower loss is better.",
    ]


def _hint_lines(facts: QuestionFacts) -> list[str]:
    lines = []
    if facts.hints:
        words = dict.fromkeys(hint.token for place in facts.hints for hint in place.tokens)
        lines.append(f"Words that the gradient favours: {_listed(list(words))}.")
    if facts.only and facts.profile.rules:
        lines.append(f"A proposal may have no other words than these: {_listed(facts.only)}.")
    return lines


def _listed(words: Sequence[str]) -> str:
    return ", ".join(plain(word) for word in words[:_SHOWN_WORDS])


def _json_example(facts: QuestionFacts) -> str:
    content: dict[str, object] = {"values": _middle(facts.limits)}
    if not facts.numbers:
        words = EXAMPLE_PHRASES[0].split()[: facts.limits.max_words]
        content = {"text": " ".join(words)}
    return json_reply([{"rationale": "why, in at most ten words", **content}])


def _middle(limits: Constraints) -> list[float]:
    return [(limits.lower + limits.upper) / 2] * min(limits.dimensions, 8)


def _repair(facts: QuestionFacts) -> str:
    return (
        f"The last answer could not be used ({plain(facts.problem)}). "
        f"Propose {facts.count}, in the form above."
    )
