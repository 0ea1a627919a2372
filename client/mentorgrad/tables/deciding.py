"""Decides which rows of a table are used, its classes, and the split of each row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mentorgrad.tables.malformed import MalformedError
from mentorgrad.tables.reading import NAMED_ROWS, TableReading, TableScan
from mentorgrad.tables.report import (
    DroppedRows,
    LabelConflict,
    LabelCount,
    SplitSizes,
    TableReport,
    shown,
)
from mentorgrad.tables.splitting import Repeats, find_repeats, sides_of
from mentorgrad.tables.values import LabelKey

MERGED = "other"
"""Label of the rare labels that are merged."""


@dataclass(frozen=True)
class TableRow:
    """One labelled text of a table."""

    text: str
    """The text, without outer space."""
    pair: str
    """The second text; empty if the table has none."""
    label: int
    """Index into `Table.labels`."""
    number: int
    """Number of its line or row in its file."""


@dataclass(frozen=True)
class TablePart:
    """A file, the side of each of its usable rows, and the class of each of its labels."""

    path: Path
    reading: TableReading
    sides: bytes
    classes: dict[int, int]
    """Number of a label → class."""

    def rows(self, side: int) -> Iterator[TableRow]:
        """Yields the rows of a side, in file order."""
        # Rows or labels that are new are of a file that has changed, which reading refuses.
        for own, usable in zip(chain(self.sides, repeat(0)), self.reading.usable(), strict=False):
            if own == side and (label := self.classes.get(usable.label)) is not None:
                yield TableRow(usable.text, usable.pair, label, usable.where.number)


class TaskSplit:
    """Decides which rows are used, the classes, and the side of each row."""

    def __init__(
        self,
        path: Path,
        reading: TableReading,
        scan: TableScan,
        test: tuple[Path, TableReading, TableScan] | None,
        rare: str | None,
        seed: int,
        selection_rows: int,
    ) -> None:
        self.path = path
        self.reading = reading
        self.scan = scan
        self.test = test
        self.rare = rare
        self.seed = seed
        self.selection_rows = selection_rows
        self.kept = np.ones(len(scan.rows.texts), np.bool_)
        self.numbers = np.frombuffer(scan.rows.labels, np.uint16).copy()
        self.words = reading.labels.words()

    def decide(self) -> tuple[tuple[str, ...], TableReport, tuple[TablePart, ...]]:
        """The labels in class order, the report, and the files with the side of each row.

        Raises:
            MalformedError: The labels do not make a task.
        """
        repeats = find_repeats(self.scan.rows)
        self._drop(repeats.same_label, "repeat a text")
        self._drop(repeats.other_label, "repeat a text with another label")
        test_sides = self._leave_to_test()
        self._handle_rare()
        present = set(self.numbers[self.kept].tolist())
        if len(present) < 2:
            raise MalformedError(
                f"column {self.reading.columns.label!r}: {len(present)} labels are left, and a "
                f"task needs two; left out are {_said(self.scan.dropped.report())}"
            )
        order = [number for number in self._order() if number in present]
        place = {number: index for index, number in enumerate(order)}
        classes = {
            number: place[target] for number, target in self._targets().items() if target in place
        }
        sides = sides_of(
            self.scan.rows,
            self.kept,
            self.numbers,
            words=lambda number: self.words[number],
            seed=self.seed,
            selection_rows=self.selection_rows,
            with_test=self.test is None,
        )
        parts = [TablePart(self.path, self.reading, sides.tobytes(), classes)]
        if self.test:
            path, reading, scan = self.test
            numbers = np.frombuffer(scan.rows.labels, np.uint16)
            test_sides[~np.isin(numbers, list(classes))] = 0
            parts.append(TablePart(path, reading, test_sides.tobytes(), classes))
        labels = tuple(self.words[number] for number in order)
        report = self._report(order, repeats, sides, test_sides)
        return labels, report, tuple(parts)

    def _drop(self, indices: Sequence[int] | npt.NDArray[np.int64], reason: str) -> None:
        for index in indices:
            if self.kept[index]:
                self.kept[index] = False
                self.scan.dropped.add(reason, self.scan.rows.places[index])

    def _leave_to_test(self) -> npt.NDArray[np.uint8]:
        """Drops what the test file holds too; returns the sides of the test file's rows."""
        if self.test is None:
            return np.zeros(0, np.uint8)
        rows = self.test[2].rows
        sides = np.full(len(rows.texts), 3, np.uint8)
        repeats = find_repeats(rows)
        sides[[*repeats.same_label, *repeats.other_label]] = 0
        for mine, theirs, what in (
            (self.scan.rows.texts, rows.texts, "have a text of the test file"),
            (self.scan.rows.groups, rows.groups, "have a group of the test file"),
        ):
            if len(mine) and len(theirs):
                found = np.isin(np.frombuffer(mine, np.uint64), np.frombuffer(theirs, np.uint64))
                self._drop(np.flatnonzero(found), what)
        return sides

    def _handle_rare(self) -> None:
        needed = 2 if self.test else 3
        rare = self._rare(needed)
        if rare and self.rare == "merge":
            target = self._merged()
            self.numbers[np.isin(self.numbers, rare)] = target
            if not (rare := self._rare(needed)):
                return
        if not rare:
            return
        shown_labels = ", ".join(f"{shown(self.words[number])!r}" for number in rare[:5])
        more = f" and {len(rare) - 5} more" if len(rare) > 5 else ""
        if self.rare != "drop":
            raise MalformedError(
                f"column {self.reading.columns.label!r}: {needed} splits need {needed} different "
                f"{'groups' if len(self.scan.rows.groups) else 'texts'} of each label, but "
                f"{shown_labels}{more} {'has' if len(rare) == 1 else 'have'} fewer; leave such "
                f"labels out with --rare drop, or make them one label {MERGED!r} with --rare merge"
            )
        self._drop(np.flatnonzero(np.isin(self.numbers, rare)), "have a rare label")

    def _rare(self, needed: int) -> list[int]:
        """Numbers of the labels with fewer different texts, or groups, than there are splits."""
        groups = self.scan.rows.groups
        rare = []
        for number in range(len(self.words)):
            inside = np.flatnonzero(self.kept & (self.numbers == number))
            units = len(inside)
            if len(groups):
                units = len(np.unique(np.frombuffer(groups, np.uint64)[inside]))
            if units < needed and (units or number not in self._merged_away()):
                rare.append(number)
        return rare

    def _merged_away(self) -> set[int]:
        original = np.frombuffer(self.scan.rows.labels, np.uint16)
        return set(original[original != self.numbers].tolist())

    def _merged(self) -> int:
        """Number of the label that rare labels become."""
        key: LabelKey = MERGED
        if (number := self.reading.labels.keys.get(key)) is not None:
            return number
        self.words.append(MERGED)
        return len(self.words) - 1

    def _targets(self) -> dict[int, int]:
        """Number of each label in the file → number of the label that it counts as."""
        original = np.frombuffer(self.scan.rows.labels, np.uint16)
        pairs = np.unique(np.stack([original, self.numbers]), axis=1)
        return {int(number): int(target) for number, target in pairs.T}

    def _order(self) -> list[int]:
        order = self.reading.labels.order()
        if len(self.words) > len(order):
            words = self.words
            keys = list(self.reading.labels.keys)
            numeric = [number for number in order if not isinstance(keys[number], str)]
            others = [number for number in order if isinstance(keys[number], str)]
            order = numeric + sorted([*others, len(words) - 1], key=lambda one: words[one])
        return order

    def _report(
        self,
        order: Sequence[int],
        repeats: Repeats,
        sides: npt.NDArray[np.uint8],
        test_sides: npt.NDArray[np.uint8],
    ) -> TableReport:
        source, columns, scan = self.reading.source, self.reading.columns, self.scan
        counts = [int(np.count_nonzero(self.kept & (self.numbers == one))) for one in order]
        used = int(np.count_nonzero(self.kept))
        dropped = scan.dropped.report()
        test = int(np.count_nonzero(test_sides))
        remarks = source.remarks
        if self.test and (left := self.test[2].rows_read - test):
            remarks = (*remarks, f"{left:,} rows of the test file are not used")
        is_text = source.files[0].suffix.lower() in (".csv", ".tsv", ".jsonl", ".json")
        return TableReport(
            file=self.path.name or str(self.path),
            encoding=source.form.encoding if is_text else "",
            delimiter=source.form.delimiter,
            sheet=source.form.sheet,
            remarks=remarks,
            text=columns.text,
            pair=columns.pair,
            label=columns.label,
            group=columns.group,
            unit=scan.unit,
            rows=used + sum(one.rows for one in dropped),
            used=used,
            labels=tuple(
                LabelCount(self.words[one], count, self._other_spellings(one))
                for one, count in zip(order, counts, strict=True)
            ),
            imbalance=max(counts) / min(counts),
            dropped=dropped,
            conflicts=len(repeats.conflicts),
            conflict_examples=tuple(self._conflict(one) for one in repeats.conflicts[:NAMED_ROWS]),
            longest=scan.longest,
            longest_at=scan.longest_at,
            splits=SplitSizes(
                train=int(np.count_nonzero(sides == 1)),
                selection=int(np.count_nonzero(sides == 2)),
                test=test if self.test else int(np.count_nonzero(sides == 3)),
            ),
            seed=self.seed,
            test_file=self.test[0].name if self.test else "",
        )

    def _other_spellings(self, number: int) -> tuple[str, ...]:
        spellings = self.reading.labels.spellings
        found: Sequence[str] = () if number >= len(spellings) else sorted(spellings[number])
        return tuple(word for word in found if word != self.words[number])

    def _conflict(self, members: Sequence[int]) -> LabelConflict:
        labels = Counter(self.scan.rows.labels[member] for member in members)
        listed = sorted(labels, key=lambda one: -labels[one])
        return LabelConflict(
            tuple(self.scan.rows.places[member] for member in members[:NAMED_ROWS]),
            tuple(self.words[number] for number in listed),
        )


def _said(dropped: Sequence[DroppedRows]) -> str:
    return ", ".join(f"{one.rows} rows ({one.reason})" for one in dropped)
