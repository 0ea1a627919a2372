"""Labelled rows, and tasks before and after sampling: train, selection and test splits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from mentorgrad.tables.values import text_identity
from trainer_service.tasks.images import EncodedImage

UNLABELLED = -1
"""Label of a row to predict."""


class Split(StrEnum):
    """A part of a task's rows."""

    TRAIN = "train"
    SELECTION = "selection"
    TEST = "test"


CutTexts = Mapping[str, Sequence[int]]
"""By split, the indices of the rows whose texts are longer than the model's room, and cut."""


@dataclass(frozen=True)
class Row:
    """One labelled text or image."""

    text: str
    """The text; empty if the row is an image."""
    label: int
    """Index into the task's label words; `UNLABELLED` if it is not known."""
    pair: str = ""
    """Second text of a text pair, or the row's choices, one per line; empty if the task has
    neither."""
    image: EncodedImage | None = None
    """The image, of a row that has no text."""

    @classmethod
    def of(cls, content: str | EncodedImage, label: int, pair: str = "") -> Row:
        """A row of a text or an image."""
        if isinstance(content, str):
            return cls(content, label, pair)
        return cls("", label, pair, content)

    @property
    def joined(self) -> str:
        """Input of an encoder: both texts, separated by a space."""
        return f"{self.text} {self.pair}" if self.pair else self.text

    @property
    def choices(self) -> tuple[str, ...]:
        """The lines of the second text."""
        return tuple(self.pair.split("\n")) if self.pair else ()

    @property
    def identity(self) -> str:
        """Case-folded text with normalised white space, or the digest of the image; equal for
        duplicate rows."""
        return self.image.sha256 if self.image else text_identity(self.text, self.pair)


@dataclass(frozen=True)
class Source:
    """A task as read from its files, before sampling."""

    name: str
    """Task name."""
    description: str
    """One line that says what the texts are classified by."""
    labels: tuple[str, ...]
    """Label words."""
    train: tuple[Row, ...]
    """Rows to sample train from, and selection too if it has no file."""
    selection: tuple[Row, ...] | None
    """Rows of the selection file; None without one."""
    test: tuple[Row, ...]
    """Rows of the test file; empty without one."""
    field: str = "data"
    """Field of the task's spec that says where the rows come from: ``data``, ``hub`` or ``name``,
    for violations."""

    untuned_prompt: str = ""
    """See `TaskData`."""

    def field_of(self, split: str) -> str:
        """The field that says where the rows of a split come from."""
        return self.field if self.field == "name" else f"{self.field}.{split}"


@dataclass(frozen=True)
class TaskData:
    """The sampled rows of one run, in three disjoint splits."""

    name: str
    """Task name."""
    description: str
    """One line that says what the texts are classified by."""
    labels: tuple[str, ...]
    """Label words."""
    train: tuple[Row, ...]
    """Rows that gradients are computed on."""
    selection: tuple[Row, ...]
    """Rows that candidates are scored on."""
    test: tuple[Row, ...]
    """Rows that the final result is scored on, once; may be empty."""
    dropped: int = 0
    """Rows left out because their text also occurs in another split, or earlier in the same one."""
    unused_train: int = 0
    """Further rows of the train file that the run does not use."""
    unused_selection: int = 0
    """Further rows of the selection file that the run does not use."""
    untuned_prompt: str = ""
    """What stands for a class without tuning, with ``{label}`` for its word; empty: the word
    alone."""

    def rows(self, split: Split) -> tuple[Row, ...]:
        """The rows of a split."""
        rows: tuple[Row, ...] = getattr(self, split.value)
        return rows

    def texts(self, split: Split) -> list[str]:
        """The encoder's inputs of the rows of a split."""
        return [row.joined for row in self.rows(split)]

    @property
    def untuned_prompts(self) -> list[str]:
        """What stands for each class without tuning."""
        return [(self.untuned_prompt or "{label}").replace("{label}", word) for word in self.labels]

    @property
    def train_texts(self) -> list[str]:
        """The texts of train; description and labels, where rows are images."""
        if self.has_images:
            return [self.description, *self.labels]
        return self.texts(Split.TRAIN)

    @cached_property
    def is_paired(self) -> bool:
        """Whether rows have a second text."""
        return any(row.pair for split in Split for row in self.rows(split))

    @cached_property
    def has_images(self) -> bool:
        """Whether rows are images."""
        return any(row.image for split in Split for row in self.rows(split))

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 over the labels and the rows of all splits."""
        return _digest([list(self.labels), [_plain(self.rows(split)) for split in Split]])

    def split_digest(self, split: Split) -> str:
        """Hex SHA-256 over the labels and the rows of a split."""
        return _digest([list(self.labels), _plain(self.rows(split))])


def _plain(rows: Sequence[Row]) -> list[list[str | int]]:
    return [[row.image.sha256 if row.image else row.text, row.pair, row.label] for row in rows]


def _digest(document: list[object]) -> str:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def majority_share(rows: Sequence[Row]) -> float | None:
    """Share of the most frequent class; None for no rows."""
    if not rows:
        return None
    labels = [row.label for row in rows]
    return max(labels.count(label) for label in set(labels)) / len(labels)
