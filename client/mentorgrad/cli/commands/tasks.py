"""`mentorgrad tasks`: checks tables of one's own, pulls data sets, exports built-in tasks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mentorgrad.cli.support.flag_text import words_of
from mentorgrad.cli.support.options import JsonOption, WordsOption
from mentorgrad.cli.support.output import Output
from mentorgrad.cli.support.table_options import (
    AskedTable,
    DelimiterOption,
    EncodingOption,
    GroupOption,
    LabelOption,
    PairOption,
    QuotingOption,
    RareOption,
    SheetOption,
    SplitSeedOption,
    TableArgument,
    TestOption,
    TextOption,
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


@app.command("export", epilog="Example: mentorgrad tasks export tickets")
def export(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Built-in task: tickets.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Output file: .csv, .tsv, .jsonl or .parquet. Default: NAME.csv.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a built-in task to one labelled table, as files of your own are."""
    from mentorgrad.cli.support.builtin_tasks import write_builtin

    rows, path = write_builtin(name, output)
    facts = {"name": name, "file": str(path), "rows": rows}
    Output(as_json).result(facts, f"{rows} rows written to {path}")


@app.command("check", epilog="Example: mentorgrad tasks check tickets.csv --text message")
def check(
    file: TableArgument,
    text: TextOption = "",
    pair: PairOption = "",
    label: LabelOption = "",
    group: GroupOption = "",
    delimiter: DelimiterOption = "",
    encoding: EncodingOption = "",
    quoting: QuotingOption = "",
    sheet: SheetOption = "",
    test: TestOption = None,
    rare: RareOption = "",
    words: WordsOption = None,
    seed: SplitSeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Read a labelled table and report what it holds, in six lines.

    It needs no service and writes nothing. Where two choices fit, the error names both and a flag.
    With --words, a seventh line holds the settings of a task for the labels.
    """
    from mentorgrad.tables import report_lines

    spelled = words_of("--words", words or ())
    asked = AskedTable(file, text, pair, label, group, delimiter, encoding, quoting, sheet, test)
    table = replace(asked, rare=rare, words=spelled, seed=seed).read()
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
