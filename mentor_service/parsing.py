"""Parses and validates an LLM's replies into proposals.

Nothing here raises: for any text, the result is the proposals that satisfy the constraints, and
the number of dropped items by reason.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mentor_service.answer_limits import encodable
from mentor_service.line_replies import TOO_LONG, LineRules, line_forms
from mentor_service.similarity import SimilarityIndex, canonical, exact_forms
from mentorgrad.domain.advice import Constraints, ProposalKind
from mentorgrad.errors import InvalidInput
from mentorgrad.settings_space import SettingsSpace

__all__ = ["Check", "Parsed", "ParsedProposal", "canonical", "first_line", "parse_numbers"]

_NUMBERING = re.compile(r"^\s*(?:\d{1,3}\s*[.):]|[-*•])\s+")
# The pattern must be unambiguous: backtracking would cost quadratic time in a long run of digits.
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_MAX_RATIONALE = 500
_MAX_READ = 100_000
"""Maximum characters of a reply that are parsed."""
_CUT_OFF = "cut off by the token limit"
_LIST = re.compile(r'"proposals"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")
_LONGEST_WORD = 100
"""Maximum letters of a word."""


@dataclass(frozen=True)
class ParsedProposal:
    """One proposal as parsed."""

    text: str = ""
    """Text, for proposals of kind ``text``."""
    values: tuple[float, ...] = ()
    """Numbers, for proposals of kind ``numbers``."""
    rationale: str = ""
    """The model's reason, if the reply gives one."""
    settings: Mapping[str, Any] | None = None
    """Settings, for proposals of kind ``settings``."""


Check = Callable[[ParsedProposal], str]
"""Returns why a proposal is rejected, without quoting it; empty: it is accepted."""


@dataclass
class Parsed:
    """Collects the proposals and the dropped items of one or more replies.

    Args:
        constraints: What a proposal must satisfy.
        known: Texts that count as duplicates: those of the pool, and the examples in the question.
            For proposals of numbers, the numbers as text.
        foreign: Words of the question's worked example that have nothing to do with the task.
        near: Whether near duplicates are dropped too (see `SimilarityIndex`); not for strategies
            that ask for small edits.
        in_effect: Settings that count as a duplicate.
    """

    constraints: Constraints
    known: Collection[str] = ()
    foreign: Collection[str] = ()
    near: bool = False
    in_effect: Mapping[str, Any] | None = None
    space: SettingsSpace | None = field(init=False, default=None)
    """The settings that may be proposed, for proposals of settings."""
    found: list[ParsedProposal] = field(default_factory=list)
    """Proposals that satisfy the constraints, without duplicates."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Number of dropped items by reason."""
    _points: set[tuple[float, ...]] = field(default_factory=set)
    _known_points: set[tuple[float, ...]] = field(default_factory=set)
    _seen: SimilarityIndex = field(default_factory=SimilarityIndex)
    _known: SimilarityIndex = field(default_factory=SimilarityIndex)
    _lines: set[Hashable] = field(default_factory=set)  # forms of the known and the found

    def __post_init__(self) -> None:
        if self.constraints.kind is ProposalKind.SETTINGS:
            schema = self.constraints.settings_schema
            self.space = SettingsSpace.read(schema, "constraints.settings_schema")
        elif self.constraints.kind is ProposalKind.NUMBERS:
            points = (parse_numbers(text) for text in self.known)
            self._known_points = {point for point in points if point is not None}
        else:
            self._known = SimilarityIndex(self.known)
            self._lines.update(*map(self.line_forms, self.known))

    @property
    def line_forms(self) -> Callable[[str], Collection[Hashable]]:
        """Forms of a line of a language model's input; two that share one count as equal."""
        return line_forms if self.near else exact_forms

    def detail(self) -> str:
        """Summarises in one line what was dropped and why; empty: nothing."""
        if not self.dropped:
            return ""
        reasons = "; ".join(f"{count} {reason}" for reason, count in self.dropped.most_common())
        return f"dropped {self.dropped.total()}: {reasons}"

    def texts(self) -> tuple[str, ...]:
        """The texts that count as duplicates: known ones, and those found."""
        return (*self.known, *(item.text for item in self.found))

    def read(
        self, reply: str, as_json: bool, complete: bool = True, check: Check = lambda _: ""
    ) -> list[ParsedProposal]:
        """Parses a reply; returns the proposals that it added to `found`.

        Args:
            reply: Raw reply of the model.
            as_json: Whether the reply should be JSON; otherwise numbered lines.
            complete: Whether the model ended by itself; otherwise the last line is incomplete and
                dropped.
            check: Additional check of proposals that satisfy the constraints.
        """
        reply = reply[:_MAX_READ]
        items = self._json_items(reply) if as_json else self._line_items(reply, complete)
        before = len(self.found)
        for item in items:
            self._take(item, check)
        return self.found[before:]

    def read_line(
        self, reply: str, rules: LineRules, complete: bool, check: Check = lambda _: ""
    ) -> list[ParsedProposal]:
        """Reads a reply that should be one line of a language model's input, whose case and
        punctuation are kept; returns the proposals that it added to `found`.

        Args:
            reply: Raw reply of the model.
            rules: What a line must not be.
            complete: Whether the model ended by itself.
            check: Additional check of lines that satisfy the rules.
        """
        text, refusal = rules.read(reply, complete)
        return self._take_line(ParsedProposal(text), refusal, check)

    def offer(self, item: ParsedProposal) -> bool:
        """Adds a proposal parsed elsewhere if it is valid; returns whether it was added."""
        before = len(self.found)
        self._take(item, lambda _: "")
        return len(self.found) > before

    def offer_line(self, text: str) -> bool:
        """Adds a line of a language model's input, as it is, if it is valid; returns whether it was
        added."""
        is_long = len(canonical(text).split()) > self.constraints.max_words
        item = ParsedProposal(text)
        return bool(self._take_line(item, TOO_LONG if is_long else "", lambda _: ""))

    # -- forms --------------------------------------------------------------------------------

    def _line_items(self, reply: str, complete: bool) -> Iterator[ParsedProposal]:
        lines = reply.split("\n")
        if not complete and lines and lines[-1].strip():
            lines.pop()
            self.dropped[_CUT_OFF] += 1
        for line in lines:
            content = _NUMBERING.sub("", line, count=1).strip()
            if not content:
                continue
            if self.space is not None:
                yield ParsedProposal(settings=_first_object(content) or {})
            elif self.constraints.kind is ProposalKind.NUMBERS:
                values = parse_numbers(content)
                if values is None:
                    self.dropped["not numbers"] += 1
                else:
                    yield ParsedProposal(values=values)
            else:
                yield ParsedProposal(text=content)

    def _json_items(self, reply: str) -> Iterator[ParsedProposal]:
        document = _first_object(reply)
        items = document.get("proposals") if document is not None else None
        if not isinstance(items, list) and (items := _whole_items(reply)):
            self.dropped[_CUT_OFF] += 1
        if document is None and not items:
            self.dropped["no JSON in the reply"] += 1
            return
        if not isinstance(items, list):
            self.dropped['no list "proposals" in the reply'] += 1
            return
        for item in items:
            found = _json_item(item, self.constraints.kind)
            if found is None:
                self.dropped["malformed item"] += 1
            else:
                yield found

    # -- rules --------------------------------------------------------------------------------

    def _take(self, item: ParsedProposal, check: Check) -> None:
        if self.space is not None:
            self._take_settings(item, self.space, check)
            return
        numbers = self.constraints.kind is ProposalKind.NUMBERS
        refusal = self._number_refusal(item) if numbers else self._text_refusal(item)
        if not refusal:
            text = "" if numbers else canonical(item.text)
            item = ParsedProposal(text, item.values if numbers else (), _one_line(item.rationale))
            refusal = (self._stale_point if numbers else self._stale_text)(item) or check(item)
        if refusal:
            self.dropped[refusal] += 1
            return
        if numbers:
            self._points.add(item.values)
        else:
            self._seen.add(item.text)
        self.found.append(item)

    def _take_settings(self, item: ParsedProposal, space: SettingsSpace, check: Check) -> None:
        try:
            settings = space.checked(item.settings or {})
        except InvalidInput:
            self.dropped["outside the schema"] += 1
            return
        item = ParsedProposal(rationale=_one_line(item.rationale), settings=settings)
        if settings == self.in_effect:
            self.dropped["already in effect"] += 1
        elif any(settings == other.settings for other in self.found):
            self.dropped["repeated in the reply"] += 1
        elif refusal := check(item):
            self.dropped[refusal] += 1
        else:
            self.found.append(item)

    def _take_line(self, item: ParsedProposal, refusal: str, check: Check) -> list[ParsedProposal]:
        refusal = refusal or self._repeated_line(item) or check(item)
        if refusal:
            self.dropped[refusal] += 1
            return []
        self._seen.add(item.text)
        self._lines.update(self.line_forms(item.text))
        self.found.append(item)
        return [item]

    def _stale_point(self, item: ParsedProposal) -> str:
        if item.values in self._points:
            return "repeated in the reply"
        return "already known" if item.values in self._known_points else ""

    def _repeated_text(self, item: ParsedProposal) -> str:
        if self._seen.same(item.text):
            return "repeated in the reply"
        return "already known" if self._known.same(item.text) else ""

    def _repeated_line(self, item: ParsedProposal) -> str:
        if self._lines.isdisjoint(self.line_forms(item.text)):
            return ""
        return self._repeated_text(item) or "near duplicate"

    def _stale_text(self, item: ParsedProposal) -> str:
        if repeated := self._repeated_text(item):
            return repeated
        if self.near and (self._seen.near(item.text) or self._known.near(item.text)):
            return "near duplicate"
        return ""

    def _text_refusal(self, item: ParsedProposal) -> str:
        words = canonical(item.text).split()
        if not words:
            return "empty"
        if not all(word.isalpha() for word in words):
            return "not plain words"
        if any(len(word) > _LONGEST_WORD for word in words):
            return f"a word of more than {_LONGEST_WORD} letters"
        if len(words) > self.constraints.max_words:
            return f"longer than {self.constraints.max_words} words"
        if not set(self.foreign).isdisjoint(words):
            return "about the example instead of the task"
        return ""

    def _number_refusal(self, item: ParsedProposal) -> str:
        limits = self.constraints
        if len(item.values) != limits.dimensions:
            return f"not {limits.dimensions} numbers"
        if not all(math.isfinite(value) for value in item.values):
            return "not finite"
        if not all(limits.lower <= value <= limits.upper for value in item.values):
            return "out of bounds"
        return ""


def first_line(reply: str) -> str:
    """The first line with a word, in canonical form (see `canonical`) and without its numbering."""
    for line in reply[:_MAX_READ].split("\n"):
        content = canonical(_NUMBERING.sub("", line, count=1))
        if content:
            return content
    return ""


def _one_line(text: str) -> str:
    return encodable(" ".join(text.split())[:_MAX_RATIONALE])


def parse_numbers(line: str) -> tuple[float, ...] | None:
    """The numbers of a line; None if it contains anything but numbers and separators."""
    parts = [part for part in re.split(r"[\s,;]+", line.strip(" \t[](){}")) if part]
    if not parts or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    return tuple(float(part) for part in parts)


def _first_object(reply: str) -> dict[str, object] | None:
    """The first JSON object in a text that may have prose or a code fence around it."""
    decoder = json.JSONDecoder()
    for start in _brackets(reply):
        try:
            document, _ = decoder.raw_decode(reply, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict):
            return document
        if isinstance(document, list):
            return {"proposals": document}
    return None


def _whole_items(text: str) -> list[object] | None:
    """The items of a list "proposals" that was cut off, without the last; None: no whole item."""
    found = _LIST.search(text)
    items: list[object] = []
    position = _BETWEEN.match(text, found.end()).end() if found else len(text)  # type: ignore[union-attr]
    while position < len(text) and text[position] in '{["':
        try:
            item, position = json.JSONDecoder().raw_decode(text, position)
        except (ValueError, RecursionError):
            break
        items.append(item)
        position = _BETWEEN.match(text, position).end()  # type: ignore[union-attr]
    return items or None


def _brackets(text: str) -> Iterable[int]:
    # Bounded, so that a reply full of brackets stays cheap to parse.
    return [match.start() for match, _ in zip(re.finditer(r"[{\[]", text), range(20), strict=False)]


def _json_item(item: object, kind: ProposalKind) -> ParsedProposal | None:
    if kind is ProposalKind.TEXT and isinstance(item, str):
        return ParsedProposal(text=item)
    if kind is ProposalKind.NUMBERS and isinstance(item, list):
        item = {"values": item}
    if not isinstance(item, dict):
        return None
    reason = item.get("rationale", "")
    rationale = reason if isinstance(reason, str) else ""
    if kind is ProposalKind.SETTINGS:
        settings = item.get("settings")
        is_object = isinstance(settings, dict)
        return ParsedProposal(rationale=rationale, settings=settings) if is_object else None
    if kind is ProposalKind.TEXT:
        text = item.get("text")
        return ParsedProposal(text=text, rationale=rationale) if isinstance(text, str) else None
    values = item.get("values")
    if not isinstance(values, list):
        return None
    numbers = tuple(_as_float(value) for value in values)
    return ParsedProposal(values=numbers, rationale=rationale)


def _as_float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan
