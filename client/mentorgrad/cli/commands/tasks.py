"""`mentorgrad tasks`: lists tasks, pulls and imports them, exports built-in ones, checks tables of
one's own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mentorgrad.cli.support.flag_text import words_of
from mentorgrad.cli.support.options import JsonOption, WordsOption
from mentorgrad.cli.support.output import Output, note
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
    help="List tasks, download or import them, and check data files.",
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
            help="Data set on the Hugging Face hub: hf:org/name\\[/config]\\[@revision]; or the "
            "name of a published task."
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Download a data set from the Hugging Face hub to the local cache.

    A trainer reads data sets from this cache or from its data roots. It never downloads them.
    """
    from mentorgrad import dataset_refs
    from mentorgrad.errors import InvalidInput
    from mentorgrad.named_tasks import published_tasks

    if task := published_tasks().get(reference):
        if not task.source:
            raise InvalidInput(
                f"{reference} is in no data set of the hub that is known here; get it from "
                f"{task.homepage}, and run: mentorgrad tasks import {reference} FOLDER"
            )
        reference = task.source
    found = dataset_refs.pull(reference)
    path = str(found.folder)
    Output(as_json).result({"reference": reference, "path": path, "config": found.config}, path)


@app.command("list", epilog="Example: mentorgrad tasks list")
def list_tasks(as_json: JsonOption = False) -> None:
    """List the tasks that a spec can name: published ones, and those imported on this machine.

    A trainer reads a published task from a folder of its name in its data roots, from what "tasks
    import" has written, or from a copy of its data set ("tasks pull").
    """
    from mentorgrad.cli.support.task_import import imported_tasks
    from mentorgrad.named_tasks import published_tasks
    from mentorgrad.paths import tasks_folder
    from mentorgrad.serialization import to_dict

    found = [*published_tasks().values(), *imported_tasks(tasks_folder())]
    out = Output(as_json)
    if as_json:
        out.json({"tasks": [to_dict(task) for task in found]})
        return
    out.table(
        ("task", "labels", "metric", "source", "description"),
        [
            (
                task.name,
                str(len(task.labels) or task.classes),
                task.metric,
                task.source or task.homepage,
                task.description,
            )
            for task in found
        ],
    )


@app.command("import", epilog="Example: mentorgrad tasks import rte ./rte")
def import_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What specs call the task.")],
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="Folder with train.jsonl, validation.jsonl and test.jsonl (or .csv, .tsv, .json, "
            ".parquet), or a single file; of images, a folder per class, or as published.",
        ),
    ],
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            metavar="FOLDER",
            help="Where to put the task's folder: a data root of a trainer. Default: "
            "~/.local/share/mentorgrad/tasks, where every trainer on this machine looks.",
        ),
    ] = None,
    per_class: Annotated[
        int,
        typer.Option(
            "--per-class", min=0, help="Maximum images per split and class; 0: all of them."
        ),
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Copy a task to where task = NAME is read from, in one layout, and print the files' digests.

    A published task (see "tasks list") may have the columns of its data set, or text, text_pair
    and label. Any other needs a task.json in the folder, with its description and labels.

    Images are linked, or copied where that is not possible. Their folder has train/CLASS/*.jpg (or
    .png) and test/CLASS/*.jpg; or CLASS/*.jpg, from which runs hold test images out; or CoOp's list
    of splits, split_zhou_*.json, beside the images; or the parquet files of a copy of the hub.
    """
    from dataclasses import asdict

    from mentorgrad.cli.support.task_import import import_task
    from mentorgrad.errors import InvalidInput
    from mentorgrad.named_tasks import CARD, published_tasks, replaced_words
    from mentorgrad.paths import tasks_folder

    root = folder or tasks_folder()
    if root is None:
        raise InvalidInput.field("--folder", "is needed: there is no home folder")
    path, splits = import_task(name, source, root, per_class)
    out = Output(as_json)
    if as_json:
        out.json({"name": name, "path": str(path), "splits": [asdict(split) for split in splits]})
        return
    published = published_tasks().get(name)
    if published is not None and (words := replaced_words(published, source.expanduser())):
        note(
            f"the labels are {', '.join(published.labels)}, in this order; {CARD} calls them "
            f"{', '.join(words)}"
        )
    for split in splits:
        left = f" ({split.left_out} without a text or label left out)" if split.left_out else ""
        out.line(f"{split.split}: {split.rows} rows{left}, SHA-256 {split.sha256}")
    out.line(str(path))


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
