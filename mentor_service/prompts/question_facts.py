"""Building blocks of prompts: the facts of a question, and text blocks that most prompts share.

External texts (the task card, projected words, train rows) go through `plain`, so that they cannot
inject line breaks or chat template markers into a prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mentor_service.formats import json_reply, number_format, number_line, text_line
from mentor_service.profiles import Profile
from mentorgrad.domain.advice import Constraints, Exemplar, PositionHints, ProposalKind, TaskCard

EXAMPLE_PHRASES = (
    "a guest asks about the",
    "complaint of a hotel guest about",
    "I am writing because of my",
    "please help me with the",
)
"""Phrases of the worked example for small models; replies that repeat one are dropped."""

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
    "instruct": "Put a short phrase {place} so that it says what a text is about.",
    "bare": "",
    "role": "You are an editor who writes short phrases that say what a text is about. Each stands "
    "{place}.",
}
"""Instruction by the option `wording`, for profiles that show an example; ``{place}`` is where a
phrase is placed."""

_ADVISERS = {
    "instruct": _ADVISER,
    "bare": "Answer with JSON only.",
    "role": f"You are the most experienced mentor of a young optimiser. {_ADVISER}",
}
"""Instruction by the option `wording`, for profiles that state rules."""

WORDINGS = tuple(_LEADS)
"""Values of the option `wording`, the default first."""

_PROPOSAL = (
    "a phrase that is put in front of each class name; a text belongs to the class whose phrase "
    "and name together are nearest to it in meaning"
)
"""`TaskCard.proposal` of a text, if the card does not say."""

LABEL = "{label}"
"""Stands for the label word of each class in `TaskCard.place`."""

_PLACE = f"in front of {LABEL}"
"""`TaskCard.place`, if the card does not say."""

_MARKS = re.compile(r"<\|.*?\|>|</?s>|\[/?INST\]|<(?:start|end)_of_turn>")
_SHOWN_LABELS = 30
_SHOWN_CHARACTERS = 200
_PROPOSAL_CHARACTERS = 500
_SHOWN_WORDS = 60


class Message(NamedTuple):
    """System and user prompt of a question."""

    system: str
    """System prompt; may be empty."""
    user: str
    """User prompt."""


@dataclass(frozen=True)
class Shown:
    """One candidate as shown in a prompt."""

    text: str
    """Text, or the numbers as text."""
    loss: float
    """Loss on the selection split."""
    accuracy: float | None = None
    """Accuracy on the selection split; None for functions."""
    toward: str = ""
    """Words that gradient descent moved towards."""
    source: str = ""
    """``snapshot``, ``projection`` or ``proposal``."""
    settings: Mapping[str, Any] | None = None
    """Settings of gradient steps, if the run has any."""
    probe_loss: float | None = None
    """Loss after the steps of a race with these settings."""


@dataclass(frozen=True)
class QuestionFacts:
    """Everything that a prompt may show: task, constraints, candidates, hints and train rows."""

    card: TaskCard
    """The task."""
    limits: Constraints
    """Constraints on proposals; `max_words` is limited by the profile too."""
    profile: Profile
    """Model profile, which determines the form of the question."""
    count: int
    """Proposals requested per reply."""
    shown: tuple[Shown, ...] = ()
    """Candidates, worst first; fewer than the strategy chose if the question was too long."""
    hints: tuple[PositionHints, ...] = ()
    """Gradient hints to show; empty unless the strategy or its options want them."""
    only: tuple[str, ...] = ()
    """Allowed words of a proposal; empty: any."""
    exemplars: tuple[Exemplar, ...] = ()
    """Train rows to show."""
    problem: str = ""
    """Why items of earlier replies were dropped; empty in the first round."""
    wording: str = WORDINGS[0]
    """Wording of the instruction; one of `WORDINGS`."""
    settings: Mapping[str, Any] | None = None
    """Settings in effect, for proposals of settings."""

    @property
    def numbers(self) -> bool:
        """Whether proposals are numbers, not text."""
        return self.limits.kind is ProposalKind.NUMBERS

    def things(self, count: int | None = None) -> str:
        """The noun for proposals: ``phrase``, ``phrases``, ``point`` or ``points``."""
        thing = "point" if self.numbers else "phrase"
        return thing if count == 1 else f"{thing}s"

    def wanted(self, what: str = "") -> str:
        """The request, such as ``Write 4 new phrases``; `what` precedes the noun."""
        verb = "Propose" if self.profile.rules else "Write"
        return " ".join(filter(None, [verb, str(self.count), what, self.things(self.count)]))


def compose(facts: QuestionFacts, context: Sequence[str], wish: str) -> Message:
    """Composes a prompt for proposals from the task, the strategy's context and its request.

    Depending on the profile, the prompt states rules, or shows a worked example of another topic.

    Args:
        facts: The facts.
        context: Lines that the strategy shows.
        wish: What the strategy asks for, in one or two sentences.
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
        lines.append(repair(facts))
    return Message(_ADVISERS[facts.wording], "\n".join(lines))


def entries(facts: QuestionFacts, heading: str, shown: Sequence[Shown] | None = None) -> list[str]:
    """Lines of candidates with their losses under a heading; empty without candidates."""
    shown = facts.shown if shown is None else shown
    mark = "- " if facts.profile.details else ""
    return [heading, *(mark + entry(facts, item) for item in shown)] if shown else []


def entry(facts: QuestionFacts, item: Shown) -> str:
    """Formats one candidate with its loss."""
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
    """A train row's text in quotation marks, truncated to the profile's limit."""
    text = plain(row.text, facts.profile.exemplar_characters).replace('"', "'")
    return f'"{text}"'


def plain(text: str, longest: int = _SHOWN_CHARACTERS) -> str:
    """Sanitises a text: one printable line of bounded length, without chat template markers."""
    line = "".join(char if char.isprintable() else " " for char in _MARKS.sub(" ", text))
    return " ".join(line.split())[:longest]


def foreign_words(card: TaskCard) -> frozenset[str]:
    """Words of the worked example that do not occur in the card."""
    parts = (card.description, *card.labels, card.proposal, card.place)
    own = re.findall(r"\w+", " ".join(parts).lower())
    return _EXAMPLE_SUBJECTS.difference(own)


def topic(card: TaskCard) -> str:
    """The description of the task, in one line."""
    return plain(card.description) or plain(card.objective) or "not described"


def labels(card: TaskCard) -> str:
    """The label words, separated by commas; only the first ones if there are many."""
    shown = [plain(label) for label in card.labels[:_SHOWN_LABELS]]
    more = ", ..." if len(card.labels) > _SHOWN_LABELS else ""
    return ", ".join(label for label in shown if label) + more if shown else "none"


def placed(card: TaskCard, label: str) -> str:
    """Where a text proposal is placed; `label` is what the question calls a class's label."""
    return (plain(card.place) or _PLACE).replace(LABEL, label)


def parameter(card: TaskCard, default: str = "") -> list[str]:
    """The line that says what the parameter is; empty if nothing does."""
    proposal = plain(card.proposal, _PROPOSAL_CHARACTERS) or default
    return [f"The parameter is {proposal}."] if proposal else []


def repair(facts: QuestionFacts) -> str:
    """The line that says why the last answer could not be used."""
    return (
        f"The last answer could not be used ({plain(facts.problem)}). "
        f"Propose {facts.count}, in the form above."
    )


def _word_head(facts: QuestionFacts) -> list[str]:
    lead = _LEADS[facts.wording].format(place=placed(facts.card, "a word"))
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
        *parameter(facts.card),
        f"Every number lies between {form.write(limits.lower)} and {form.write(limits.upper)}.",
    ]


def _number_tail(facts: QuestionFacts) -> list[str]:
    line = number_line(1, _middle(facts.limits), number_format(facts.limits))
    return [f"A point is written like this: {line.partition(' ')[2]}"]


def _word_rules(facts: QuestionFacts) -> list[str]:
    return [
        f"Task: classify texts by {topic(facts.card)}.",
        f"Classes: {labels(facts.card)}.",
        *parameter(facts.card, _PROPOSAL),
        f"A proposal has at most {facts.limits.max_words} words of plain letters, without "
        f"punctuation, and must make sense {placed(facts.card, 'every class name')}.",
        "The words shown for points of the descent are the nearest ones to continuous vectors, so "
        "they may read oddly; loss is what counts, and lower is better.",
    ]


def _number_rules(facts: QuestionFacts) -> list[str]:
    limits = facts.limits
    return [
        f"Task: minimise a function: {topic(facts.card)}.",
        *parameter(facts.card),
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
