"""Labelled tables in the formats that people have them in."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

Pairs = Sequence[tuple[Any, Any]]


def write_table(path: Path, rows: Pairs, names: tuple[str, str] = ("text", "label")) -> Path:
    """Writes texts and labels in the format of the suffix."""
    records = [dict(zip(names, row, strict=True)) for row in rows]
    suffix = path.suffix
    if suffix in (".csv", ".tsv"):
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="\t" if suffix == ".tsv" else ",")
            writer.writerows([names, *rows])
    elif suffix == ".jsonl":
        lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
        path.write_text("".join(lines), encoding="utf-8", newline="")
    elif suffix == ".json":
        path.write_text(json.dumps(records), encoding="utf-8")
    elif suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
    elif suffix == ".xlsx":
        import openpyxl

        book = openpyxl.Workbook()
        for row in [names, *rows]:
            book.active.append(row)
        book.save(path)
    return path


def plain(count: int, labels: Sequence[Any] = ("no", "yes")) -> list[tuple[str, Any]]:
    """As many different texts, with the labels in turn."""
    return [(f"text {n}", labels[n % len(labels)]) for n in range(count)]


def put(path: Path, content: str | bytes | Pairs) -> Path:
    """Writes bytes or text as they are, and rows in the format of the suffix."""
    if isinstance(content, str):
        content = content.encode()
    if isinstance(content, bytes):
        path.write_bytes(content)
        return path
    return write_table(path, content)
