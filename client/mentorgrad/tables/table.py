"""Reads a labelled table of one's own: what it holds, what is left out, and its splits.

A table is read twice: once to count and to split, and again for the rows of a split. No text is
kept, only some 20 bytes a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from mentorgrad.errors import InvalidInput
from mentorgrad.tables.columns import TableColumns, choose_columns
from mentorgrad.tables.deciding import TablePart, TableRow, TaskSplit
from mentorgrad.tables.malformed import MalformedError
from mentorgrad.tables.reading import TableReading, TableScan, refusals_of
from mentorgrad.tables.records import RowPlace
from mentorgrad.tables.report import SplitSizes, TableReport, shown
from mentorgrad.tables.sampling import sampled
from mentorgrad.tables.source import open_source
from mentorgrad.tables.splitting import SPLITS
from mentorgrad.tables.values import LabelColumn, LabelValues

SELECTION_ROWS = 2000
"""Default maximum of selection rows."""


@dataclass(frozen=True)
class Table:
    """A labelled table that was read and split."""

    path: Path
    """The file, or the folder of a data set."""
    columns: TableColumns
    """Its columns."""
    labels: tuple[str, ...]
    """Labels in class order: numbers by value, then words by code point. A task's
    ``label_values``."""
    words: tuple[str, ...]
    """What a model reads for each label, in the order of `labels`; the label itself, if no word was
    given for it. A task's ``labels``."""
    report: TableReport
    """What was read."""
    _parts: tuple[TablePart, ...] = field(repr=False)

    def rows(self, split: str) -> Iterator[TableRow]:
        """Yields the rows of a split in file order; reads the file again.

        Args:
            split: ``train``, ``selection`` or ``test``.

        Raises:
            InvalidInput: There is no such split, or the file has changed since the table was read.
        """
        if split not in SPLITS:
            raise InvalidInput(f"split must be one of: {', '.join(SPLITS)}; not {split!r}")
        side = SPLITS.index(split) + 1
        for part in self._parts:
            if side in part.sides:
                with refusals_of(part.path):
                    yield from part.rows(side)

    def sample(self, most: SplitSizes) -> Table:
        """This table with fewer rows in its splits, each class in its share; reads the file again.

        Args:
            most: Maximum rows of each split; each class keeps one row at least.

        Raises:
            InvalidInput: The file has changed since the table was read.
        """
        sizes = self.report.splits
        limits = (most.train, most.selection, most.test)
        have = (sizes.train, sizes.selection, sizes.test)
        if all(count <= limit for count, limit in zip(have, limits, strict=True)):
            return self
        parts = []
        for part in self._parts:
            with refusals_of(part.path):
                parts.append(sampled(part, limits, self.report.seed))
        counts = [sum(part.sides.count(side) for part in parts) for side in (1, 2, 3)]
        report = replace(self.report, splits=SplitSizes(*counts))
        return replace(self, report=report, _parts=tuple(parts))


def read_table(
    path: str | Path,
    text: str | None = None,
    pair: str | None = None,
    label: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    sheet: str | None = None,
    *,
    quoting: str | None = None,
    group: str | None = None,
    test: str | Path | None = None,
    rare: Literal["drop", "merge"] | None = None,
    words: Mapping[str, str] | None = None,
    seed: int = 0,
    selection_rows: int = SELECTION_ROWS,
) -> Table:
    """Reads and splits a labelled table: CSV, TSV, JSONL, JSON, parquet, Arrow or Excel.

    What is not given is found; where two fit, the error names both. One fifth of each class is
    test, one fifth selection (up to `selection_rows`), the rest train. Every text is used once, so
    it is in one split only.

    Args:
        path: A file, or the folder of a Hugging Face data set.
        text: Column of the text.
        pair: Column of a second text; None: there is none.
        label: Column of the label.
        delimiter: Delimiter of a CSV file.
        encoding: Encoding of a text file.
        sheet: Sheet of an Excel workbook, or split of a data set.
        quoting: Quoting of a CSV file: ``doubled``, ``backslash`` or ``none``.
        group: Column of what must not be parted between splits, such as an author.
        test: Test file with the same columns; train and selection then share the table.
        rare: What becomes of labels that have too few texts for the splits: ``drop`` leaves their
            rows out, ``merge`` makes them one label, ``other``; None: they are refused.
        words: What a model reads for a label, by label; None: the labels themselves.
        seed: Seed of the splits.
        selection_rows: Maximum number of selection rows.

    Raises:
        InvalidInput: A file is missing, unreadable or malformed, a choice is open, or the labels do
            not make a task; the message names the file, and the row and column where there is one.
        Unsupported: The format needs a package that is not installed.
    """
    if rare not in (None, "drop", "merge"):
        raise InvalidInput(f"rare must be drop or merge, not {rare!r}")
    if selection_rows < 1:
        raise InvalidInput("selection_rows must be at least 1")
    path = Path(path).expanduser()
    asked = [name for name in (text, pair, label, group) if name]
    with refusals_of(path):
        source = open_source(
            path,
            asked,
            delimiter=delimiter or "",
            encoding=encoding or "",
            quoting=quoting or "",
            sheet=sheet or "",
        )
        columns = choose_columns(
            source.columns,
            text=text or "",
            pair=pair or "",
            label=label or "",
            group=group or "",
            classes=source.classes,
        )
        reading = TableReading(source, columns, LabelColumn(columns.label))
        scan = TableScan.of(reading)
        if len(reading.labels.keys) < 2:
            only = reading.labels.words()[0]
            raise MalformedError(
                f"column {columns.label!r}: every row has the label {only!r}; a task needs two "
                "labels; name the column of the labels with --label"
            )
    told = None if test is None else _read_test(Path(test).expanduser(), columns, reading.labels)
    with refusals_of(path):
        split = TaskSplit(path, reading, scan, told, rare, seed, selection_rows)
        labels, report, parts = split.decide()
    if not words:
        return Table(path, columns, labels, labels, report, parts)
    chosen = _words_of(labels, words)
    counts = [replace(count, word=word) for count, word in zip(report.labels, chosen, strict=True)]
    return Table(path, columns, labels, chosen, replace(report, labels=tuple(counts)), parts)


def _words_of(labels: tuple[str, ...], words: Mapping[str, str]) -> tuple[str, ...]:
    """The word of each label.

    Raises:
        InvalidInput: A word is for no label of the table, empty, or for two labels.
    """
    chosen = list(labels)
    known = LabelValues(labels)
    for value, word in words.items():
        index = known.index_of(value, "words", RowPlace("value", 1))
        if index is None:
            listed = ", ".join(shown(label) for label in labels[:10])
            raise InvalidInput.field(
                "words", f"the table has no label {value!r}; its labels are: {listed}"
            )
        chosen[index] = word.strip()
    for word in chosen:
        if not word or chosen.count(word) > 1:
            what = f"{word!r} is the word of two labels" if word else "a word is empty"
            raise InvalidInput.field("words", what)
    return tuple(chosen)


def _read_test(
    path: Path, columns: TableColumns, labels: LabelColumn
) -> tuple[Path, TableReading, TableScan]:
    with refusals_of(path):
        source = open_source(path, columns.needed)
        group = columns.group if columns.group in source.columns else ""
        own = choose_columns(
            source.columns,
            text=columns.text,
            pair=columns.pair,
            label=columns.label,
            group=group,
        )
        known = len(labels.keys)
        reading = TableReading(source, own, labels)
        scan = TableScan.of(reading)
        if len(labels.keys) > known:
            word = labels.words()[known]
            raise MalformedError(
                f"{labels.first[known]}, column {own.label!r}: the table has no label {word!r}; "
                "its labels are " + ", ".join(labels.words()[: min(known, 10)])
            )
        return path, reading, scan
