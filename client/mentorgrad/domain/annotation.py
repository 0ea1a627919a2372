"""Labels and notes of runs, which can be edited at any time. They are no part of the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mentorgrad.errors import Violation
from mentorgrad.schema import Validated, bounded

MAX_LABELS = 64
"""Maximum labels of a run."""

MAX_NOTE = 10_000
"""Maximum characters of a note."""


@dataclass(frozen=True)
class RunAnnotation:
    """What was noted about a run after it was created."""

    labels: Mapping[str, str] = bounded(factory=dict, max_length=MAX_LABELS)
    """All labels of the run."""
    note: str = bounded("", max_length=MAX_NOTE)
    """Note; empty: none."""


@dataclass(frozen=True)
class RunUpdate(Validated):
    """Changes of a run's labels and note."""

    labels: Mapping[str, str] = bounded(factory=dict, max_length=MAX_LABELS)
    """Labels to add, or to give another value."""
    remove_labels: tuple[str, ...] = bounded((), max_length=MAX_LABELS)
    """Keys of labels to remove; a label that does not exist is ignored."""
    note: str | None = bounded(None, max_length=MAX_NOTE)
    """The new note, at most 10,000 characters; empty: none. Absent: the note stays."""

    def cross_violations(self) -> Iterator[Violation]:
        """Checks that a label is not both set and removed."""
        for index, key in enumerate(self.remove_labels):
            if key in self.labels:
                yield Violation(f"remove_labels[{index}]", "is also among the labels to set")
