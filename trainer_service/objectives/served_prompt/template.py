"""The input of a served tuned model: where text, prompt and label stand. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trainer_service.tasks.data import Row

DEFAULT = "Text: {text}\n{prompt}\nAnswer: {label}"
"""The template for single texts."""
DEFAULT_PAIRS = "Text: {text}\nText: {text_pair}\n{prompt}\nAnswer: {label}"
"""The template for text pairs."""

_LABEL = " {label}"
_PLACES = re.compile(r"\{(text|text_pair|prompt|label)\}")


@dataclass(frozen=True)
class Template:
    """A valid template: the part up to the prompt, which a row fills, and the part after it.

    An input is ``head(row) + tail(prompt)``, and a label follows as a space and its word.
    """

    before: str
    """The part before the prompt, with ``{text}`` and perhaps ``{text_pair}``."""
    after: str
    """The part between prompt and label."""

    @classmethod
    def of(cls, text: str, pairs: bool) -> Template:
        """Splits a template without violations; the default one if it is empty."""
        text = text or (DEFAULT_PAIRS if pairs else DEFAULT)
        before, _, after = text.partition("{prompt}")
        return cls(before, after.removesuffix(_LABEL))

    @property
    def text(self) -> str:
        """The whole template."""
        return f"{self.before}{{prompt}}{self.after}{_LABEL}"

    def head(self, row: Row) -> str:
        """The input before the prompt."""
        parts = {"text": row.text, "text_pair": row.pair}
        return _PLACES.sub(lambda found: parts[found[1]], self.before)

    def tail(self, prompt: str) -> str:
        """The prompt and what follows it, up to the label. Without a prompt, its line is left
        out."""
        if not prompt and self.before.endswith("\n"):
            return self.after.removeprefix("\n")
        return prompt + self.after

    def demonstrations(self, rows: Sequence[Row], labels: Sequence[str]) -> str:
        """Rows with their labels, without a prompt, each followed by an empty line."""
        return "".join(f"{self.head(row)}{self.tail('')} {labels[row.label]}\n\n" for row in rows)


def template_violations(text: str, pairs: bool) -> Iterator[str]:
    """What is wrong with a template.

    Args:
        text: The template; empty: the default one.
        pairs: Whether the task has text pairs.
    """
    if not text:
        return
    places = _PLACES.findall(text)
    for name in ("text", "prompt", *(["text_pair"] if pairs else [])):
        if places.count(name) != 1:
            yield f"must contain {{{name}}} once, not {places.count(name)} times"
            return
    if not pairs and "text_pair" in places:
        yield "contains {text_pair}, but the task has single texts"
    elif places[-2:] != ["prompt", "label"]:
        yield "must contain {prompt} after the text, and after it only {label}"
    elif places.count("label") != 1 or not text.endswith(_LABEL):
        yield "must end with a space and {label}"
