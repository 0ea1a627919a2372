"""Predictions of a tuned classifier, and what they are asked for with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from mentorgrad.errors import InvalidInput, Violation
from mentorgrad.schema import Validated, bounded

MAX_TEXT_CHARACTERS = 100_000
"""Maximum length of a text, in characters."""


@dataclass(frozen=True)
class Prediction:
    """Prediction for one text."""

    label: str = ""
    """Most probable label."""
    label_index: int = 0
    """Index of this label in `PredictorInfo.labels`."""
    probabilities: tuple[float, ...] = ()
    """Probability of each label, in the order of `PredictorInfo.labels`."""
    is_cut: bool = False
    """Whether the text is longer than the model's room for it, and was cut as in the run."""


@dataclass(frozen=True)
class PredictorInfo:
    """What a service predicts with."""

    labels: tuple[str, ...] = ()
    """Labels, in the order of the probabilities."""
    paired: bool = False
    """Whether a text has a second text."""
    use: str = ""
    """What predicts: ``prompt``, ``words`` or ``probe``."""
    objective: str = ""
    """Objective of the run."""
    model: str = ""
    """Reference of the frozen model."""
    model_sha256: str = ""
    """Hex SHA-256 of the model's weights, configuration and tokenizer."""
    model_revision: str = ""
    """Commit of a model of the Hugging Face hub; empty for others."""
    result_sha256: str = ""
    """Hex SHA-256 of the result folder's files that predict: of one line ``SHA256  NAME`` for
    each."""
    prior: tuple[float, ...] = ()
    """Probabilities of the labels for texts without content, which are divided out; empty: the
    probabilities are not calibrated."""
    run_id: str = ""
    """ID of the run that left the result; empty if it is not recorded."""
    columns: Mapping[str, str] = bounded(factory=dict)
    """Columns of the run's own files, by field name of `DataFiles`."""
    version: str = ""
    """Service version."""
    max_texts: int = 0
    """Maximum number of texts in one request."""
    max_bytes: int = 0
    """Maximum bytes of all texts of one request, in UTF-8."""
    label_values: tuple[str, ...] = ()
    """Labels as the run's data files hold them, then equal to `labels`; empty for a task without
    label values."""


@dataclass(frozen=True)
class PredictInput(Validated):
    """Texts to classify."""

    MAX_TEXTS: ClassVar[int] = 1024
    """Maximum number of texts."""
    MAX_BYTES: ClassVar[int] = 1_000_000
    """Maximum bytes of all texts, in UTF-8."""

    texts: tuple[str, ...] = bounded((), max_length=MAX_TEXT_CHARACTERS)
    """The texts."""
    text_pairs: tuple[str, ...] = bounded((), max_length=MAX_TEXT_CHARACTERS)
    """Their second texts, for a classifier of pairs; otherwise empty."""

    def cross_violations(self) -> Iterator[Violation]:
        """See `Validated`."""
        if len(self.texts) > self.MAX_TEXTS:
            said = f"must have at most {self.MAX_TEXTS} entries, not {len(self.texts)}"
            yield Violation("texts", said)
        size = sum(len(text.encode()) for text in (*self.texts, *self.text_pairs))
        if size > self.MAX_BYTES:
            yield Violation("texts", f"must have at most {self.MAX_BYTES} bytes, not {size}")
        if self.text_pairs and len(self.text_pairs) != len(self.texts):
            said = f"must have one entry per text: {len(self.texts)}, not {len(self.text_pairs)}"
            yield Violation("text_pairs", said)


@dataclass(frozen=True)
class PredictStreamInput(PredictInput):
    """Many texts to classify."""

    MAX_TEXTS: ClassVar[int] = 50_000
    MAX_BYTES: ClassVar[int] = 8_000_000


def check_sequences(*given: object) -> None:
    """Checks arguments that are to be sequences of texts, or None.

    Raises:
        InvalidInput: One is a single text or a table, whose letters or names would be predicted,
            or a set or a mapping, in whose order nobody could tell which label is whose.
    """
    unlike = (str, bytes, set, frozenset, Mapping)
    if any(isinstance(one, unlike) or getattr(one, "ndim", 1) != 1 for one in given):
        raise InvalidInput(
            "texts and pairs must be sequences of texts, not a single text or a table"
        )


def shifted(error: InvalidInput, by: int) -> InvalidInput:
    """The error of a part of the texts, with the paths of the whole.

    Args:
        error: The error of the part.
        by: Index of the part's first text in the whole.
    """

    def whole(path: str) -> str:
        return re.sub(r"^(texts|text_pairs)\[(\d+)\]", lambda m: f"{m[1]}[{int(m[2]) + by}]", path)

    found = [Violation(whole(one.field), one.description) for one in error.violations]
    return InvalidInput(violations=found, reason=error.reason) if found else error
