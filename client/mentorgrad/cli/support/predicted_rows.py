"""Predicts the rows of a table in order, and compares with labels that are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mentorgrad.errors import InvalidInput
from mentorgrad.predictor import Predictor
from mentorgrad.tables.columns import said_columns
from mentorgrad.tables.malformed import MalformedError
from mentorgrad.tables.records import FileRecord, Refuse, RowPlace
from mentorgrad.tables.values import cell_text, choices_text, label_key

TEXT, IMAGE = "text", "image"
"""Columns of texts, and of paths of images, that come without a name."""

_ROWS = 256
"""Rows at once."""


@dataclass(frozen=True)
class RowColumns:
    """The columns that are read."""

    text: str
    """Of the text."""
    pair: str = ""
    """Of the second text; empty: none."""
    label: str = ""
    """Of the known label; empty: none."""
    choices: tuple[str, ...] = ()
    """Of the choices, which make the second text; empty: none."""


def choose_columns(known: Sequence[str], asked: RowColumns, predictor: Predictor) -> RowColumns:
    """The columns of a table: those that are asked for, else those of the run's own files, else
    the usual ones, or a single one.

    Raises:
        InvalidInput: One is missing, or none fits; names the table's columns.
    """
    recorded = predictor.columns
    only = known[0] if len(known) == 1 else ""

    def choice(flag: str, wanted: str, *usual: str) -> str:
        found = next((name for name in usual if name in known), "")
        if (wanted or found) in known:
            return wanted or found
        what = f"there is no column {wanted!r}" if wanted else "no column fits"
        near = wanted or next(filter(None, usual), "")
        raise InvalidInput(f"{flag}: {what}; {said_columns(known, near)}")

    field, usual = ("image_field", IMAGE) if predictor.takes_images else ("text_field", TEXT)
    text = choice("--text", asked.text, recorded.get(field, ""), usual, only)
    pair, choices = "", asked.choices
    if not (choices or asked.pair):
        choices = tuple(filter(None, recorded.get("choice_fields", "").split("\n")))
        choices = choices if set(choices) <= set(known) else ()
    if predictor.is_paired and choices:
        choices = tuple(choice("--choice", name) for name in choices)
    elif predictor.is_paired:
        pair = choice("--pair", asked.pair, recorded.get("pair_field", ""), "text_pair")
    elif asked.pair or asked.choices:
        flag = "--pair" if asked.pair else "--choice"
        raise InvalidInput(f"{flag}: this classifier is for single texts")
    return RowColumns(text, pair, choice("--label", asked.label) if asked.label else "", choices)


class _TextRow(NamedTuple):
    where: RowPlace
    values: Mapping[str, Any]
    text: str
    pair: str


PredictedRow = tuple[Mapping[str, Any], NDArray[np.float64]]
"""Values by column, and the probabilities of the labels."""


def predicted_rows(
    records: Iterable[FileRecord],
    predictor: Predictor,
    columns: RowColumns,
    refuse: Refuse,
    cut: Callable[[RowPlace], None],
    folder: Path = Path(),
) -> Iterator[PredictedRow]:
    """Predicts rows in order; holds few at a time.

    Args:
        records: The rows.
        predictor: Predicts them.
        columns: Which are read.
        refuse: Takes the error of each row that has no text or cannot be predicted.
        cut: Takes the place of each row whose text is cut.
        folder: Folder that paths of images are relative to.
    """
    rows = _text_rows(records, columns, refuse)
    if predictor.takes_images:
        rows = (row._replace(text=str(folder / row.text)) for row in rows)
    while chunk := list(islice(rows, _ROWS)):
        try:
            found = _probabilities(chunk, predictor, cut)
        except InvalidInput:  # one of them; which one is seen by asking about each alone
            yield from _one_by_one(chunk, predictor, refuse, cut)
        else:
            yield from zip((row.values for row in chunk), found, strict=True)


def _text_rows(
    records: Iterable[FileRecord], columns: RowColumns, refuse: Refuse
) -> Iterator[_TextRow]:
    for where, values in records:
        try:
            text = _text(values, columns.text, where)
            pair = _text(values, columns.pair, where) if columns.pair else ""
            if columns.choices:
                pair = choices_text(_text(values, name, where) for name in columns.choices)
        except MalformedError as error:
            refuse(error)
        else:
            yield _TextRow(where, values, text, pair)


def _text(values: Mapping[str, Any], column: str, where: RowPlace) -> str:
    text = cell_text(values.get(column), column, where)
    if not text:
        raise MalformedError(f"{where}: column {column!r} holds no text")
    return text


def _probabilities(
    rows: Sequence[_TextRow], predictor: Predictor, cut: Callable[[RowPlace], None]
) -> NDArray[np.float64]:
    pairs = [row.pair for row in rows] if predictor.is_paired else None
    found = predictor.predict_proba([row.text for row in rows], pairs)
    for index in predictor.cut_texts:
        cut(rows[index].where)
    return found


def _one_by_one(
    rows: Sequence[_TextRow],
    predictor: Predictor,
    refuse: Refuse,
    cut: Callable[[RowPlace], None],
) -> Iterator[PredictedRow]:
    for row in rows:
        try:
            (shares,) = _probabilities([row], predictor, cut)
        except InvalidInput as error:
            reasons = [violation.description for violation in error.violations]
            refuse(MalformedError(f"{row.where}: {'; '.join(reasons) or error.message}"))
        else:
            yield row.values, shares


class Agreement:
    """How well labels that are known were predicted.

    Args:
        predictor: What predicts them.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._labels = labels = predictor.labels
        # As in tables: labels that differ in case alone, or numbers that are equal, are one.
        self._places = {label_key(labels[place]): place for place in reversed(range(len(labels)))}
        is_named = predictor.label_values or any(isinstance(key, Decimal) for key in self._places)
        if not is_named:
            self._places |= {Decimal(place): place for place in range(len(labels))}
        self.counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
        """Confusion matrix [actual, predicted]."""
        self.unknown = 0
        """Rows whose label is none of the classifier's."""

    def add(self, value: Any, shares: NDArray[np.float64]) -> None:
        """Adds a row with its known label: a label value, or for a task without these a label word
        or an index of one."""
        actual = self._place(value)
        if actual is None:
            self.unknown += 1
        else:
            self.counts[actual, int(shares.argmax())] += 1

    def _place(self, value: Any) -> int | None:
        if value is None or isinstance(value, (dict, list)):
            return None
        word = str(value).strip()
        return (
            self._labels.index(word) if word in self._labels else self._places.get(label_key(word))
        )

    @property
    def rows(self) -> int:
        """Rows with a known label."""
        return int(self.counts.sum())

    @property
    def accuracy(self) -> float | None:
        """Share of rows that were predicted rightly; None without rows."""
        return float(self.counts.trace() / self.rows) if self.rows else None

    @property
    def macro_f1(self) -> float | None:
        """Mean F1 over the labels that occur among the known or the predicted; None without
        rows."""
        total = self.counts.sum(0) + self.counts.sum(1)
        if not self.rows:
            return None
        return float(np.mean(2.0 * self.counts.diagonal()[total > 0] / total[total > 0]))

    def facts(self) -> Mapping[str, Any]:
        """The figures, for JSON."""
        return {
            "rows": self.rows,
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "unknown_labels": self.unknown,
            "labels": list(self._labels),
            "confusion": self.counts.tolist(),
        }
