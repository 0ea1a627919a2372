"""Predicts the rows of a table in order, and writes them with what is predicted."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from mentorgrad.cli.support.input_rows import TEXT, InputRow
from mentorgrad.errors import InvalidInput
from mentorgrad.predictor import Predictor
from mentorgrad.tables.malformed import MalformedError
from mentorgrad.tables.records import RowPlace
from mentorgrad.tables.values import LabelValues

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
        raise InvalidInput(f"{flag}: {what}; the columns are: {', '.join(known)}")

    text = choice("--text", asked.text, recorded.get("text_field", ""), TEXT, only)
    pair = ""
    if predictor.is_paired:
        pair = choice("--pair", asked.pair, recorded.get("pair_field", ""), "text_pair")
    elif asked.pair:
        raise InvalidInput("--pair: this classifier is for single texts")
    return RowColumns(text, pair, choice("--label", asked.label) if asked.label else "")


def predicted_rows(
    rows: Iterable[InputRow],
    predictor: Predictor,
    columns: RowColumns,
    leave_out: Callable[[InputRow], None],
) -> Iterator[tuple[InputRow, NDArray[np.float64]]]:
    """Rows in order, with the probabilities of the labels; holds few rows at a time.

    Args:
        rows: The rows.
        predictor: Predicts them.
        columns: Which are read.
        leave_out: Takes each row that cannot be read or predicted, with the reason; may raise.
    """
    source = iter(rows)
    while chunk := [_checked(row, columns) for row in islice(source, _ROWS)]:
        good = [row for row in chunk if not row.error]
        try:
            found = iter(_probabilities(good, predictor, columns))
        except InvalidInput:  # one of them; which one is seen by asking about each alone
            chunk, found = _one_by_one(chunk, predictor, columns)
        for row in chunk:
            if row.error:
                leave_out(row)
            else:
                yield row, next(found)


def _checked(row: InputRow, columns: RowColumns) -> InputRow:
    for name in (columns.text, columns.pair):
        if name and not row.error and not isinstance(row.values.get(name), str):
            what = "is not a text" if name in row.values else "is missing"
            return replace(row, error=f"column {name!r} {what}")
    return row


def _probabilities(
    rows: Sequence[InputRow], predictor: Predictor, columns: RowColumns
) -> NDArray[np.float64]:
    texts = [row.values[columns.text] for row in rows]
    pairs = [row.values[columns.pair] for row in rows] if columns.pair else None
    return predictor.predict_proba(texts, pairs)


def _one_by_one(
    rows: Sequence[InputRow], predictor: Predictor, columns: RowColumns
) -> tuple[list[InputRow], Iterator[NDArray[np.float64]]]:
    checked: list[InputRow] = []
    found: list[NDArray[np.float64]] = []
    for row in rows:
        if not row.error:
            try:
                found.extend(_probabilities([row], predictor, columns))
            except InvalidInput as error:
                row = replace(row, error=error.message)
        checked.append(row)
    return checked, iter(found)


class RowWriter:
    """Writes rows with their predictions: the columns of the input, then ``label``
    (``predicted_label`` if the input has ``label``), and ``p_LABEL`` for each label.

    Args:
        file: Where to.
        kind: ``csv``, ``tsv`` or ``jsonl``.
        columns: Columns of the input.
        labels: The labels.

    Raises:
        InvalidInput: The input has a column that would be added.
    """

    def __init__(
        self, file: TextIO, kind: str, columns: Sequence[str], labels: Sequence[str]
    ) -> None:
        self._labels = labels
        self._label = "predicted_label" if "label" in columns else "label"
        self._shares = [f"p_{label}" for label in labels]
        added = [self._label, *self._shares]
        if both := [name for name in added if name in columns]:
            raise InvalidInput(f"the input already has a column {both[0]!r}, which is added here")
        self._columns = columns
        self._file = file
        self._table: Any = None
        if kind != "jsonl":
            dialect = "excel-tab" if kind == "tsv" else "excel"
            self._table = csv.writer(file, dialect, lineterminator="\n")
            self._table.writerow([*columns, *added])

    def write(self, row: InputRow, shares: NDArray[np.float64]) -> None:
        """Writes one row."""
        label = self._labels[int(shares.argmax())]
        rounded = [round(float(share), 6) for share in shares]
        if self._table is None:
            record = {**row.values, self._label: label}
            record |= dict(zip(self._shares, rounded, strict=True))
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
            return
        cells = [_cell(row.values.get(name)) for name in self._columns]
        self._table.writerow([*cells, label, *rounded])


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


class Agreement:
    """How well labels that are known were predicted.

    Args:
        predictor: What predicts them.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._labels = labels = predictor.labels
        values = predictor.label_values
        self._values = LabelValues(values) if values else None
        self.counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
        """Confusion matrix [actual, predicted]."""
        self.unknown = 0
        """Rows whose label is none of the classifier's."""

    def add(self, value: Any, shares: NDArray[np.float64]) -> None:
        """Adds a row with its known label: a label value, or for a task without these a label word
        or an index of one."""
        actual = self._index(value)
        if actual is None:
            self.unknown += 1
        else:
            self.counts[actual, int(shares.argmax())] += 1

    def _index(self, value: Any) -> int | None:
        if self._values is not None:
            try:
                return self._values.index_of(value, "label", RowPlace("row", 1))
            except MalformedError:
                return None
        word = value.strip() if isinstance(value, str) else value
        if isinstance(word, str):
            if word in self._labels:
                return self._labels.index(word)
            word = int(word) if word.isascii() and word.isdecimal() else None
        if not isinstance(word, int) or isinstance(word, bool):
            return None
        return word if 0 <= word < len(self._labels) else None

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
