"""Options that say how a table is read; shared by the commands that read one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mentorgrad.cli.support.flag_text import choice

if TYPE_CHECKING:
    from mentorgrad.tables import Table


class RareLabels(StrEnum):
    """What becomes of labels with too few texts."""

    DROP = "drop"
    MERGE = "merge"


def _column(flag: str, help_text: str) -> Any:
    return typer.Option(flag, metavar="COLUMN", help=help_text)


TableArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="CSV, TSV, JSONL, JSON, parquet, Arrow or Excel file, or the folder of a Hugging "
        "Face data set.",
    ),
]

TextOption = Annotated[str, _column("--text", "Column of the text. Default: found by its name.")]

PairOption = Annotated[str, _column("--pair", "Column of a second text.")]

LabelOption = Annotated[str, _column("--label", "Column of the label. Default: found by its name.")]

GroupOption = Annotated[
    str, _column("--group", "Column of what stays in one split, such as an author.")
]

DelimiterOption = Annotated[
    str, typer.Option("--delimiter", metavar="CHARACTER", help="Delimiter of CSV; or its name.")
]

EncodingOption = Annotated[
    str, typer.Option("--encoding", metavar="NAME", help="Encoding, such as utf-8 or cp1252.")
]

QuotingOption = Annotated[
    str, typer.Option("--quoting", metavar="KIND", help="CSV quotes: doubled, backslash or none.")
]

SheetOption = Annotated[
    str,
    typer.Option("--sheet", metavar="NAME", help="Sheet of a workbook, or split of a data set."),
]

TestOption = Annotated[
    Path | None, typer.Option("--test", metavar="FILE", help="Test file of your own.")
]

RareOption = Annotated[
    str,
    typer.Option(
        "--rare",
        metavar="drop|merge",
        help="Labels with too few texts: drop their rows, or merge them into 'other'.",
    ),
]

SplitSeedOption = Annotated[int, typer.Option("--seed", help="Seed of the splits.")]


@dataclass(frozen=True)
class AskedTable:
    """A labelled table as the options describe it; empty: to be found."""

    file: Path
    text: str = ""
    pair: str = ""
    label: str = ""
    group: str = ""
    delimiter: str = ""
    """A character, or its name."""
    encoding: str = ""
    quoting: str = ""
    sheet: str = ""
    test: Path | None = None
    rare: str = ""
    words: Mapping[str, str] = field(default_factory=dict)
    """Label → what a model reads for it."""
    seed: int = 0

    def read(self) -> Table:
        """Reads and splits it.

        Raises:
            InvalidInput: It cannot be read as a task; see `read_table`.
        """
        from mentorgrad.tables import read_table

        return read_table(
            self.file,
            self.text,
            self.pair,
            self.label,
            delimiter_character(self.delimiter),
            self.encoding,
            self.sheet,
            quoting=self.quoting,
            group=self.group,
            test=self.test,
            rare=choice("--rare", RareLabels, self.rare).value if self.rare else None,
            words=self.words,
            seed=self.seed,
        )


def delimiter_character(given: str) -> str:
    """The delimiter, which may be given by its name or as the escape of a tab."""
    from mentorgrad.tables.report import DELIMITERS

    named = {name: character for character, name in DELIMITERS.items()} | {"\\t": "\t"}
    return named.get(given, given)
