"""What a task is once it is read: labelled rows in three splits that never mix."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Row:
    """One labelled text."""

    text: str
    """The text."""
    label: int
    """Index into the task's label words."""
    pair: str = ""
    """A second text, if the task has one."""

    @property
    def joined(self) -> str:
        """What an encoder reads: both texts with a space between."""
        return f"{self.text} {self.pair}" if self.pair else self.text

    @property
    def identity(self) -> str:
        """The text without differences of case and white space; equal rows are one row."""
        return "\x1f".join(" ".join(part.casefold().split()) for part in (self.text, self.pair))


@dataclass(frozen=True)
class Source:
    """A task as its files hold it, before rows are drawn."""

    name: str
    """Its name."""
    description: str
    """What the texts are classified by, in one line."""
    labels: tuple[str, ...]
    """Label words."""
    train: tuple[Row, ...]
    """Rows to draw train from, and selection where that has no file."""
    selection: tuple[Row, ...] | None
    """Rows of the selection file, if there is one."""
    test: tuple[Row, ...]
    """Rows of the test file; empty without one."""


@dataclass(frozen=True)
class TaskData:
    """A task as one run sees it."""

    name: str
    """Its name."""
    description: str
    """What the texts are classified by, in one line."""
    labels: tuple[str, ...]
    """Label words."""
    train: tuple[Row, ...]
    """What gradients see."""
    selection: tuple[Row, ...]
    """What candidates are scored on."""
    test: tuple[Row, ...]
    """What is touched once, at the end; may be empty."""
    dropped: int = 0
    """Rows left out because their text stands in another split, or twice in one."""

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, over the labels and the rows of all splits."""
        splits = [
            [[row.text, row.pair, row.label] for row in rows]
            for rows in (self.train, self.selection, self.test)
        ]
        text = json.dumps([list(self.labels), splits], ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def majority_share(rows: Sequence[Row]) -> float | None:
    """Share of the most frequent class; None for no rows."""
    if not rows:
        return None
    labels = [row.label for row in rows]
    return max(labels.count(label) for label in set(labels)) / len(labels)
