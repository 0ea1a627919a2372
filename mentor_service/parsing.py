"""Replies to proposals: everything that an LLM writes is read and validated here.

Nothing raises: whatever the text, the result is the proposals that satisfy the constraints, and a
line for each thing that was dropped.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from mentor_service.similarity import SimilarityIndex, canonical
from mentorgrad.domain.advice import Constraints, ProposalKind

__all__ = ["Check", "Parsed", "ParsedProposal", "canonical", "first_line", "parse_numbers"]

_NUMBERING = re.compile(r"^\s*(?:\d{1,3}\s*[.):]|[-*•])\s+")
# Digits can be matched in one way only, or a long row of them costs the square of its length.
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_MAX_RATIONALE = 500
_MAX_READ = 100_000
"""Characters of a reply that are looked at."""
_LONGEST_WORD = 100
"""Letters of a word."""


@dataclass(frozen=True)
class ParsedProposal:
    """One proposal as it was read."""

    text: str = ""
    """Words, for ``text``."""
    values: tuple[float, ...] = ()
    """Numbers, for ``numbers``."""
    rationale: str = ""
    """Why, where the reply says so."""


Check = Callable[[ParsedProposal], str]
"""Why a proposal is refused, in a few words without its own; empty: it is not."""


@dataclass
class Parsed:
    """What came out of one or more replies; collects while replies are read.

    Args:
        constraints: What a proposal must satisfy.
        known: Texts that are no news: the pool's, and the examples of the question. For numbers
            they hold the numbers.
        foreign: Words that belong to the question's example and not to the task.
        near: Whether near duplicates are dropped too (see `SimilarityIndex`); not where small
            edits are asked for.
    """

    constraints: Constraints
    known: Collection[str] = ()
    foreign: Collection[str] = ()
    near: bool = False
    found: list[ParsedProposal] = field(default_factory=list)
    """Proposals that satisfy the constraints, no two alike."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Reasons, with how often each applied."""
    _points: set[tuple[float, ...]] = field(default_factory=set)
    _known_points: set[tuple[float, ...]] = field(default_factory=set)
    _seen: SimilarityIndex = field(default_factory=SimilarityIndex)
    _known: SimilarityIndex = field(default_factory=SimilarityIndex)

    def __post_init__(self) -> None:
        if self.constraints.kind is ProposalKind.NUMBERS:
            points = (parse_numbers(text) for text in self.known)
            self._known_points = {point for point in points if point is not None}
        else:
            self._known = SimilarityIndex(self.known)

    def detail(self) -> str:
        """What was dropped and why, in one line."""
        if not self.dropped:
            return ""
        reasons = "; ".join(f"{count} {reason}" for reason, count in self.dropped.most_common())
        return f"dropped {self.dropped.total()}: {reasons}"

    def read(
        self, reply: str, as_json: bool, complete: bool = True, check: Check = lambda _: ""
    ) -> list[ParsedProposal]:
        """Takes in a reply; returns what it added to `found`.

        Args:
            reply: As the model wrote it.
            as_json: Whether it was asked for as JSON; else as numbered lines.
            complete: Whether the model ended by itself; else the last line is half a line.
            check: Says why a proposal that satisfies the constraints is refused all the same.
        """
        reply = reply[:_MAX_READ]
        items = self._json_items(reply) if as_json else self._line_items(reply, complete)
        before = len(self.found)
        for item in items:
            self._take(item, check)
        return self.found[before:]

    def offer(self, item: ParsedProposal) -> bool:
        """Takes in a proposal that was read elsewhere; says whether it was added to `found`."""
        before = len(self.found)
        self._take(item, lambda _: "")
        return len(self.found) > before

    # -- forms --------------------------------------------------------------------------------

    def _line_items(self, reply: str, complete: bool) -> Iterator[ParsedProposal]:
        lines = reply.split("\n")
        if not complete and lines and lines[-1].strip():
            lines.pop()
            self.dropped["cut off"] += 1
        for line in lines:
            content = _NUMBERING.sub("", line, count=1).strip()
            if not content:
                continue
            if self.constraints.kind is ProposalKind.NUMBERS:
                values = parse_numbers(content)
                if values is None:
                    self.dropped["not numbers"] += 1
                else:
                    yield ParsedProposal(values=values)
            else:
                yield ParsedProposal(text=content)

    def _json_items(self, reply: str) -> Iterator[ParsedProposal]:
        document = _first_object(reply)
        if document is None:
            self.dropped["no JSON in the reply"] += 1
            return
        items = document.get("proposals")
        if not isinstance(items, list):
            self.dropped['no list "proposals" in the reply'] += 1
            return
        for item in items:
            found = _json_item(item, self.constraints.kind)
            if found is None:
                self.dropped["malformed"] += 1
            else:
                yield found

    # -- rules --------------------------------------------------------------------------------

    def _take(self, item: ParsedProposal, check: Check) -> None:
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

    def _stale_point(self, item: ParsedProposal) -> str:
        if item.values in self._points:
            return "repeated in the reply"
        return "known already" if item.values in self._known_points else ""

    def _stale_text(self, item: ParsedProposal) -> str:
        if self._seen.same(item.text):
            return "repeated in the reply"
        if self._known.same(item.text):
            return "known already"
        if self.near and (self._seen.near(item.text) or self._known.near(item.text)):
            return "nearly known"
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
            return "about the example"
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
    """The first line that holds a word, whatever it says: canonical, without its numbering."""
    for line in reply[:_MAX_READ].split("\n"):
        content = canonical(_NUMBERING.sub("", line, count=1))
        if content:
            return content
    return ""


def _one_line(text: str) -> str:
    # JSON can spell lone surrogates, which UTF-8 and so the wire cannot.
    return " ".join(text.split())[:_MAX_RATIONALE].encode("utf-8", "replace").decode()


def parse_numbers(line: str) -> tuple[float, ...] | None:
    """The numbers of a line that holds nothing but numbers and separators."""
    parts = [part for part in re.split(r"[\s,;]+", line.strip(" \t[](){}")) if part]
    if not parts or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    return tuple(float(part) for part in parts)


def _first_object(reply: str) -> dict[str, object] | None:
    """The first JSON object in a text that may have words or a code fence around it."""
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


def _brackets(text: str) -> Iterable[int]:
    # A few places to start from are enough, and keep a reply full of brackets cheap.
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
