"""`mentorgrad tasks`: checks data files of one's own, and downloads data sets from the hub."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mentorgrad.cli.support.flag_text import choice, words_of
from mentorgrad.cli.support.options import JsonOption, WordsOption
from mentorgrad.cli.support.output import Output
from mentorgrad.cli.support.table_options import (
    DelimiterOption,
    EncodingOption,
    QuotingOption,
    SheetOption,
    delimiter_character,
)

app = typer.Typer(
    help="Check data files, and download data sets for tasks.",
    no_args_is_help=True,
    epilog="Example: mentorgrad tasks pull hf:super_glue/rte",
)


@app.callback()
def _group() -> None:
    pass


@app.command("pull", epilog="Example: mentorgrad tasks pull hf:fancyzhx/ag_news")
def pull(
    reference: Annotated[
        str,
        typer.Argument(
            help="Data set on the Hugging Face hub: hf:org/name\\[/config]\\[@revision]"
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Download a data set from the Hugging Face hub to the local cache.

    A trainer reads data sets from this cache or from its data roots. It never downloads them.
    """
    from mentorgrad import dataset_refs

    found = dataset_refs.pull(reference)
    path = str(found.folder)
    Output(as_json).result({"reference": reference, "path": path, "config": found.config}, path)


class RareLabels(StrEnum):
    """What becomes of labels with too few texts."""

    DROP = "drop"
    MERGE = "merge"


def _column(flag: str, help_text: str) -> Any:
    return typer.Option(flag, metavar="COLUMN", help=help_text)


@app.command("check", epilog="Example: mentorgrad tasks check tickets.csv --text message")
def check(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="CSV, TSV, JSONL, JSON, parquet, Arrow or Excel file, or the folder of a Hugging "
            "Face data set.",
        ),
    ],
    text: Annotated[str, _column("--text", "Column of the text.")] = "",
    pair: Annotated[str, _column("--pair", "Column of a second text.")] = "",
    label: Annotated[str, _column("--label", "Column of the label.")] = "",
    group: Annotated[
        str, _column("--group", "Column of what stays in one split, such as an author.")
    ] = "",
    delimiter: DelimiterOption = "",
    encoding: EncodingOption = "",
    quoting: QuotingOption = "",
    sheet: SheetOption = "",
    test: Annotated[
        Path | None, typer.Option("--test", metavar="FILE", help="Test file of your own.")
    ] = None,
    rare: Annotated[
        str,
        typer.Option(
            "--rare",
            metavar="drop|merge",
            help="Labels with too few texts: drop their rows, or merge them into 'other'.",
        ),
    ] = "",
    words: WordsOption = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the splits.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Read a labelled table and report what it holds, in six lines.

    It needs no service and writes nothing. Where two choices fit, the error names both and a flag.
    With --words, a seventh line holds the settings of a task for the labels.
    """
    from mentorgrad.tables import read_table, report_lines

    table = read_table(
        file,
        text,
        pair,
        label,
        delimiter_character(delimiter),
        encoding,
        sheet,
        quoting=quoting,
        group=group,
        test=test,
        rare=choice("--rare", RareLabels, rare).value if rare else None,
        words=words_of("--words", words or ()),
        seed=seed,
    )
    out = Output(as_json)
    if as_json:
        out.json(table.report)
        return
    for line in report_lines(table.report):
        out.line(line)
    if words:
        labels, values = (
            json.dumps(part, ensure_ascii=False) for part in (table.words, table.labels)
        )
        out.line(f"task settings: labels = {labels}, label_values = {values}")
