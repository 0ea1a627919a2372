"""Writes the splits of a table as JSONL files that a task's `DataFiles` name."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mentorgrad.files import replacing
from mentorgrad.tables.columns import TableColumns
from mentorgrad.tables.splitting import SPLITS
from mentorgrad.tables.table import Table


@dataclass(frozen=True)
class WrittenSplit:
    """One split in a file."""

    split: str
    """``train``, ``selection`` or ``test``."""
    path: Path
    """The file: objects with ``text``, ``pair`` if the table has one, and ``label``, as
    `Table.labels` writes it."""
    rows: int
    """Rows written."""
    sha256: str
    """Hex SHA-256 of the file."""


def write_splits(
    table: Table, folder: str | Path, columns: TableColumns | None = None
) -> tuple[WrittenSplit, ...]:
    """Writes ``train.jsonl``, ``selection.jsonl`` and ``test.jsonl``: all of them or none.

    A task that names them has ``labels=table.words`` and ``label_values=table.labels``. The bytes
    depend on the rows, their order, the labels and the seed, not on the table's format.

    Args:
        table: The table.
        folder: Where to; created if it does not exist.
        columns: Names of text, pair and label in the files; None: ``text``, ``pair``, ``label``.

    Raises:
        InvalidInput: The table has changed since it was read.
        OSError: A file cannot be written.
    """
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as open_files:
        paths = {split: folder / f"{split}.jsonl" for split in SPLITS}
        files = {split: open_files.enter_context(replacing(paths[split])) for split in SPLITS}
        named = columns or TableColumns("text", "label", "pair")
        return tuple(_write(table, split, paths[split], files[split], named) for split in SPLITS)


def _write(
    table: Table, split: str, path: Path, file: BinaryIO, columns: TableColumns
) -> WrittenSplit:
    digest = hashlib.sha256()
    count = 0
    for row in table.rows(split):
        record = {columns.text: row.text}
        if table.columns.pair:
            record[columns.pair] = row.pair
        record[columns.label] = table.labels[row.label]
        line = (json.dumps(record, ensure_ascii=False) + "\n").encode()
        digest.update(line)
        file.write(line)
        count += 1
    return WrittenSplit(split, path, count, digest.hexdigest())
