"""The usable rows of a table, and what one pass over them keeps."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mentorgrad.errors import InvalidInput
from mentorgrad.tables.columns import TableColumns
from mentorgrad.tables.malformed import MalformedError
from mentorgrad.tables.records import RowPlace
from mentorgrad.tables.report import DroppedRows, printable
from mentorgrad.tables.source import TableSource
from mentorgrad.tables.splitting import ScannedRows, hash64
from mentorgrad.tables.values import LabelColumn, cell_text, text_identity

NAMED_ROWS = 20
"""Numbers kept per reason of dropped rows."""


@dataclass(frozen=True)
class UsableRow:
    """A row with a text and a label."""

    where: RowPlace
    text: str
    pair: str
    label: int
    """Number of the label in its column."""
    group: str
    """What the row must not be parted from; empty: nothing, or there are no groups."""


@dataclass(frozen=True)
class TableReading:
    """Reads the rows of a source that have a text and a label."""

    source: TableSource
    columns: TableColumns
    labels: LabelColumn

    def usable(self, drop: Callable[[str, int], None] = lambda *_: None) -> Iterator[UsableRow]:
        """Yields the usable rows; calls `drop` with the reason and number of every other row."""
        columns = self.columns
        for where, record in self.source.records(columns.needed):
            text = cell_text(record.get(columns.text), columns.text, where)
            pair = cell_text(record.get(columns.pair), columns.pair, where) if columns.pair else ""
            label = self.labels.number_of(record.get(columns.label), where)
            if label is None:
                drop("without a label", where.number)
            elif not text or (columns.pair and not pair):
                drop("without a text", where.number)
            else:
                named = record.get(columns.group) if columns.group else None
                group = cell_text(named, columns.group, where)
                yield UsableRow(where, text, pair, label, group)


class DroppedCounts:
    """Rows that are left out: how many for each reason, and the numbers of the first ones."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: dict[str, list[int]] = {}

    def add(self, reason: str, number: int) -> None:
        """Counts one row, by its number in the file."""
        self.counts[reason] += 1
        if len(listed := self.first.setdefault(reason, [])) < NAMED_ROWS:
            listed.append(number)

    def report(self) -> tuple[DroppedRows, ...]:
        """The counts by reason, in the order in which the reasons came."""
        return tuple(
            DroppedRows(reason, count, tuple(self.first[reason]))
            for reason, count in self.counts.items()
        )


@dataclass
class TableScan:
    """What one pass over a table keeps."""

    rows: ScannedRows
    dropped: DroppedCounts
    unit: str = "row"
    longest: int = 0
    longest_at: int = 0

    @property
    def rows_read(self) -> int:
        """Rows of the file, usable or not."""
        return len(self.rows.texts) + sum(self.dropped.counts.values())

    @classmethod
    def of(cls, reading: TableReading) -> TableScan:
        """Reads the table once.

        Raises:
            MalformedError: The table is malformed, or no row is usable.
        """
        scan = cls(ScannedRows(), DroppedCounts())
        for row in reading.usable(scan.dropped.add):
            scan.rows.texts.append(hash64(text_identity(row.text, row.pair)))
            scan.rows.labels.append(row.label)
            scan.rows.places.append(row.where.number)
            if reading.columns.group:
                scan.rows.groups.append(hash64(row.group) if row.group else scan.rows.texts[-1])
            scan.unit = row.where.unit
            if (length := len(row.text) + len(row.pair)) > scan.longest:
                scan.longest, scan.longest_at = length, row.where.number
        if not scan.rows.texts:
            raise MalformedError(
                f"has no row with a text in column {reading.columns.text!r} and a label in column "
                f"{reading.columns.label!r}"
            )
        return scan


@contextlib.contextmanager
def refusals_of(path: Path) -> Iterator[None]:
    """Names the file in the errors of reading it, which become `InvalidInput`."""
    name = printable(str(path))
    try:
        yield
    except MalformedError as error:
        raise InvalidInput(f"{name}: {error}", reason="DATA_MALFORMED") from None
    except FileNotFoundError:
        raise InvalidInput(f"{name}: there is no such file", reason="DATA_NOT_FOUND") from None
    except PermissionError:
        raise InvalidInput(
            f"{name}: this user may not read it; allow reading it (chmod u+r), or read a copy",
            reason="DATA_NOT_FOUND",
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        detail = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(f"{name}: cannot be read ({detail})", reason="DATA_NOT_FOUND") from None
