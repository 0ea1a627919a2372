"""The input of a causal language model as a template: texts, soft prompt and label. Imports no
torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mentorgrad.domain.objective import PromptPosition
from trainer_service.tasks.data import Row

PROMPT, LABEL, TEXT_PAIR = "{prompt}", "{label}", "{text_pair}"
_TEXTS = ("{text}", TEXT_PAIR)
_PARTS = re.compile(r"\{(?:text|text_pair|prompt|label)\}")

ANSWER = "Answer:"
"""What stands in front of a label where no prompt does."""


class TemplateError(ValueError):
    """A template cannot be used; the message says what would be right."""


def default_template(position: PromptPosition, paired: bool) -> str:
    """The template that an empty one stands for."""
    texts = "Text: {text}\nSecond text: {text_pair}" if paired else "Text: {text}"
    if position is PromptPosition.BEFORE_TEXT:
        return f"{PROMPT}\n{texts}\n{ANSWER} {LABEL}"
    return f"{texts}\n{PROMPT} {LABEL}"


@dataclass(frozen=True)
class Template:
    """A template, divided at the soft prompt and the label."""

    before: str
    """From the start to the prompt."""
    after: str
    """From the prompt to the label, without the spaces in front of the label."""
    lead: str
    """The spaces in front of the label."""
    opening: str = ""
    """What stands in front of all rows alike: a chat template's beginning, and demonstrations. A
    prompt in front of the text stands in front of it."""
    start: str = ""
    """What stands for a prompt where there is none: `ANSWER`, if the label follows the prompt on a
    line of their own."""

    @classmethod
    def parse(cls, text: str, position: PromptPosition, paired: bool) -> Template:
        """Reads a template.

        Args:
            text: The template; empty: the default.
            position: Where the prompt has to stand.
            paired: Whether the rows have a second text.

        Raises:
            TemplateError: It lacks a part, repeats one, or has them in another order.
        """
        text = text or default_template(position, paired)
        found = _PARTS.findall(text)
        for part in (PROMPT, LABEL):
            if found.count(part) != 1:
                raise TemplateError(f"must contain {part} exactly once")
        if not text.endswith(LABEL):
            raise TemplateError(f"must end with {LABEL}")
        if _TEXTS[0] not in found:
            raise TemplateError(f"must contain {_TEXTS[0]}")
        if paired is not (_TEXTS[1] in found):
            needed = "must contain" if paired else "must not contain"
            kind = "pairs of texts" if paired else "single texts"
            raise TemplateError(f"{needed} {_TEXTS[1]}: the rows are {kind}")
        before, after = text.removesuffix(LABEL).split(PROMPT)
        if position is PromptPosition.BEFORE_TEXT and before:
            raise TemplateError(f"must begin with {PROMPT} for the position before_text")
        if position is PromptPosition.AFTER_TEXT and any(part in after for part in _TEXTS):
            raise TemplateError(f"must have {PROMPT} behind the texts for the position after_text")
        stripped = after.rstrip(" ")
        start = ANSWER if before.endswith("\n") and not stripped else ""
        return cls(before, stripped, after[len(stripped) :], start=start)

    def in_chat(self, wrap: Callable[[str], str]) -> Template:
        """The same template as a user's message.

        Args:
            wrap: Renders a chat with one user's message, up to the beginning of the reply.

        Raises:
            TemplateError: The chat template changes the message.
        """
        rendered = wrap(f"{self.before}{PROMPT}{self.after}")
        opening, found, rest = rendered.partition(self.before)
        if not found or rest.count(PROMPT) != 1 or not rest.startswith(PROMPT):
            raise TemplateError("is changed by the tokenizer's chat template; leave that off")
        return replace(self, opening=opening, after=rest.removeprefix(PROMPT), lead="")

    def with_demonstrations(self, rows: Sequence[Row], labels: Sequence[str]) -> Template:
        """The same template behind rows with their labels."""
        shown = [f"{self.unprompted(row)}{self.label(labels[row.label])}\n\n" for row in rows]
        return replace(self, opening=self.opening + "".join(shown))

    def head(self, row: Row) -> str:
        """The part of a row's input in front of the prompt, without the opening."""
        return _filled(self.before, row)

    def tail(self, row: Row) -> str:
        """The part of a row's input between the prompt and the label, with the opening if that is
        behind the prompt."""
        return self._gap + self._behind + _filled(self.after.removeprefix(self._gap), row)

    def prompted(self, row: Row, prompt: str) -> str:
        """A row's input with a prompt in words, without the label, and without an opening in front
        of it."""
        return f"{self.head(row)}{prompt}{self.tail(row)}"

    def unprompted(self, row: Row) -> str:
        """`prompted` without a prompt, and without the line that it takes alone."""
        return f"{self.head(row)}{self.start}{self.tail(row).removeprefix(self._gap)}"

    def continuation(self, prompt: str) -> str:
        """What follows a row's head, for a prompt in words behind the text. Without a prompt, the
        line that it takes alone is left out."""
        if prompt:
            return f"{prompt}{self.after}"
        return f"{self.start}{self.after.removeprefix(self._gap)}"

    def label(self, word: str) -> str:
        """The part of an input that a label adds."""
        return f"{self.lead}{word}"

    @property
    def anchor(self) -> str:
        """What stands in front of a label, to tokenise the label behind it; any prompt may, if the
        label follows the prompt."""
        return self.after or ANSWER

    @property
    def place(self) -> str:
        """Where the prompt stands, for `TaskCard.place`."""
        if not self.before:
            return "in front of the text"
        return f"between the text and {'the answer' if self.after.strip() else LABEL}"

    @property
    def text(self) -> str:
        """The template as it is used."""
        front = "" if self._behind else self.opening
        after = self._gap + self._behind + self.after.removeprefix(self._gap)
        return f"{front}{self.before}{PROMPT}{after}{self.lead}{LABEL}"

    @property
    def _behind(self) -> str:
        """The opening, if it stands behind the prompt."""
        return "" if self.before else self.opening

    @property
    def _gap(self) -> str:
        """The end of the prompt's line, if it has that line alone."""
        is_line = (
            not self.start
            and self.after.startswith("\n")
            and (not self.before or self.before.endswith("\n"))
        )
        return "\n" if is_line else ""


def _filled(part: str, row: Row) -> str:
    """Replaces the texts in one pass, so that a text that looks like a field stays as it is."""
    values = dict(zip(_TEXTS, (row.text, row.pair), strict=True))
    return _PARTS.sub(lambda match: values[match[0]], part)
