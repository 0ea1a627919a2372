"""Options that say how a table's file is written; shared by the commands that read one."""

from __future__ import annotations

from typing import Annotated

import typer

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


def delimiter_character(given: str) -> str:
    """The delimiter, which may be given by its name or as the escape of a tab."""
    from mentorgrad.tables.report import DELIMITERS

    named = {name: character for character, name in DELIMITERS.items()} | {"\\t": "\t"}
    return named.get(given, given)
