"""Reads a reply that should be one line of a language model's input."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable
from dataclasses import dataclass

from mentor_service.answer_limits import encodable
from mentor_service.similarity import (
    SimilarityIndex,
    canonical,
    count_words,
    exact_forms,
    names,
    wording,
)

TOO_LONG = "longer than the prompt allows"

_QUOTES = "\"'`“”‘’«»"
_LIKE = {"?": "?？؟", ":": ":："}
"""Characters that other scripts write for one."""
_QUOTATION = re.compile(r"[\"“„«「『][^\"”“»」』]*[\"”“»」』]|(?<!\w)['‘`][^'’`]*['’`](?!\w)")
"""What stands in quotation marks, unlike apostrophes."""
_MAX_READ = 10_000


def line_forms(line: str) -> frozenset[Hashable]:
    """What near copies among lines share: all but case and punctuation; or what ends them, together
    with their words in any order, or those that have a meaning of their own. A question and a
    heading of the same meaning are two lines."""
    end = next((end for end, like in _LIKE.items() if line.endswith(tuple(like))), "")
    return exact_forms(line) | {(end, wording(line))}


@dataclass(frozen=True)
class LineRules:
    """What a line must not be."""

    fields: Collection[str]
    """Names of the fields of the list that the line continues."""
    examples: Collection[str]
    """Prompts of other tasks that the question shows."""
    subjects: Collection[str]
    """Words, in lower case, of these tasks that have nothing to do with this one."""
    labels: Collection[str]
    """Label words."""
    max_words: int
    """Maximum words of a line."""
    last: str = ""
    """Character that ends a line of the wanted kind; what stands behind it is left out."""

    def read(self, reply: str, complete: bool) -> tuple[str, str]:
        """Reads a reply.

        Args:
            reply: Raw reply of the model; of several lines, the first with text counts.
            complete: Whether the model ended by itself; otherwise the limit of tokens cut it off.

        Returns:
            The line with single spaces, and why it cannot be used; empty: it can.
        """
        lines = (self._bare(line) for line in reply[:_MAX_READ].split("\n"))
        line = next(filter(None, lines), "")
        end = re.search(f"[{_LIKE.get(self.last, self.last)}]", line) if self.last else None
        line = line[: end.end()] if end else line
        return line, self._refusal(line, complete or end is not None)

    def _refusal(self, line: str, complete: bool) -> str:
        if re.search(rf"\b(?:{'|'.join(map(re.escape, self.fields))})(?: \(\d+\))?[:：]", line):
            return "runs on into another task"
        if any(count_words(quoted[0]) > 1 for quoted in _QUOTATION.finditer(line)):
            return "quotes a text of its own"
        words = canonical(line).split()
        if not any(character.isalnum() for character in line) or not words:
            return "empty"
        if not complete or count_words(line) > self.max_words:
            return TOO_LONG
        if self._answers(line):
            return "answers instead of asking"
        if SimilarityIndex(self.examples).same(line):
            return "repeats an example"
        if not set(self.subjects).isdisjoint(words):
            return "about the example instead of the task"
        return ""

    def _answers(self, line: str) -> bool:
        """Whether the line names one label only; a question may, and so may a heading before its
        end."""
        if line.rstrip(":： ").endswith(tuple(_LIKE["?"])):
            return False
        named = {canonical(label) for label in self.labels if names(line, label)}
        return len(named) == 1 and (not self.last or canonical(line).endswith(named.pop()))

    def _bare(self, line: str) -> str:
        """The line without a field's name in front, quotation marks around, or odd white space."""
        text = encodable("".join(char if char.isprintable() else " " for char in line))
        text = " ".join(text.split())
        for name in self.fields:
            text = text.removeprefix(f"{name}:").lstrip()
        if len(text) > 1 and text[0] in _QUOTES and text[-1] in _QUOTES:
            text = text[1:-1].strip()
        return text
