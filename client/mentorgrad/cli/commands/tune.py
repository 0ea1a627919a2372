"""`mentorgrad tune`: from a data file to a classifier in use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from mentorgrad.cli.support.flag_text import choice, words_of
from mentorgrad.cli.support.options import JsonOption, OptionalServerOption, WordsOption
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

app = typer.Typer()

_PLAN, _PLACE = "Plan", "Where it runs"


@app.command(
    "tune", epilog="Example: mentorgrad tune tickets.csv --text message --label intent -o result"
)
def _tune(
    file: TableArgument,
    output: Annotated[
        Path,
        typer.Option("--output", "--out", "-o", metavar="FOLDER", help="Folder for the result."),
    ],
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
    minutes: Annotated[
        float,
        typer.Option(
            "--minutes",
            min=0.1,
            max=10_000,
            help="Time for everything; decides how many rows and steps there are.",
            rich_help_panel=_PLAN,
        ),
    ] = 10.0,
    shots: Annotated[
        int,
        typer.Option(
            "--shots",
            min=0,
            max=100_000,
            help="Train rows per label; 0: all.",
            rich_help_panel=_PLAN,
        ),
    ] = 0,
    objective: Annotated[
        str,
        typer.Option(
            "--objective",
            help="label_prompt, prompt_tuning, causal_prompt or served_prompt. Default: by the "
            "size of the data and the machine.",
            rich_help_panel=_PLAN,
        ),
    ] = "",
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            help="What decides on selection: accuracy, macro_f1, matthews or loss. Default: "
            "accuracy; macro_f1 if the largest label has over three times the smallest.",
            rich_help_panel=_PLAN,
        ),
    ] = "",
    patience: Annotated[
        int,
        typer.Option(
            "--patience",
            min=0,
            help="Stages without a better candidate after which the training ends; 0: never.",
            rich_help_panel=_PLAN,
        ),
    ] = 2,
    long: Annotated[
        str,
        typer.Option(
            "--long",
            metavar="truncate|head-tail|error",
            help="What happens to texts that are too long for the model: the beginning is kept, or "
            "the beginning and the end, or the run fails. Default: truncate.",
            rich_help_panel=_PLAN,
        ),
    ] = "",
    class_weight: Annotated[
        str,
        typer.Option(
            "--class-weight",
            metavar="none|balanced",
            help="balanced: every label counts alike in gradients. Default: none.",
            rich_help_panel=_PLAN,
        ),
    ] = "",
    description: Annotated[
        str,
        typer.Option(
            "--description",
            help="How the texts are classified, in one line, for the mentor. Default: by the "
            "names of the columns.",
            rich_help_panel=_PLAN,
        ),
    ] = "",
    spec: Annotated[
        Path | None,
        typer.Option(
            "--spec",
            metavar="FILE",
            help="TOML file with fields of the run spec.",
            rich_help_panel=_PLAN,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Set any field of the run spec (repeatable).",
            rich_help_panel=_PLAN,
        ),
    ] = None,
    mentor: Annotated[
        str,
        typer.Option(
            "--mentor",
            metavar="NAME|none",
            help="Name of a mentor or control, or none. Default: the default mentor, if there is "
            "one.",
            rich_help_panel=_PLACE,
        ),
    ] = "",
    mentor_model: Annotated[
        str,
        typer.Option(
            "--mentor-model",
            metavar="REFERENCE",
            help="Language model of the mentor that is started.",
            rich_help_panel=_PLACE,
        ),
    ] = "",
    model_root: Annotated[
        list[Path] | None,
        typer.Option(
            "--model-root",
            metavar="FOLDER",
            help="Folder of models that paths name (repeatable).",
            rich_help_panel=_PLACE,
        ),
    ] = None,
    server: OptionalServerOption = "",
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the run's store and data, in FOLDER/.tune.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier tune and its result.")
    ] = False,
    opens: Annotated[
        bool,
        typer.Option(
            "--open", help="Show the run in a browser; the page stays after the end, until Ctrl-C."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Tune a classifier on a labelled table, and judge it against simpler methods.

    What wins on the selection split is written to a folder that "mentorgrad predict" reads. The
    same command goes on with a tune that was broken off.
    """
    from mentorgrad.cli.support.specs import spec_fields
    from mentorgrad.cli.support.tune_places import TunePlace
    from mentorgrad.cli.support.tuning import TuneOrder, tune
    from mentorgrad.domain.spec import ClassWeight, Criterion, LongTexts

    asked = AskedTable(file, text, pair, label, group, delimiter, encoding, quoting, sheet, test)
    asked = replace(asked, rare=rare, words=words_of("--words", words or ()), seed=seed)
    flags = {
        "objective": objective or None,
        "task.long_texts": choice("--long", LongTexts, long.replace("-", "_")) if long else None,
        "task.class_weight": (
            choice("--class-weight", ClassWeight, class_weight) if class_weight else None
        ),
    }
    order = TuneOrder(
        output=output,
        place=TunePlace(server, tuple(model_root or ()), mentor_model),
        fields=spec_fields(spec, flags, settings or ()),
        description=description,
        mentor=mentor,
        shots=shots,
        minutes=minutes,
        metric=choice("--metric", Criterion, metric) if metric else None,
        patience=patience,
        overwrite=overwrite,
        keep=keep,
        opens=opens,
    )
    out = Output(as_json)

    def told(summary: Mapping[str, Any]) -> None:
        out.line(f"written to {output}: {', '.join(summary['files'])}")
        out.line(f"to predict: mentorgrad predict {output} FILE")
        if as_json:
            out.json(summary)

    try:
        tune(asked, order, out, told)
    except KeyboardInterrupt:
        note(f"broken off; the same command goes on, from what is in {output}")
        raise typer.Exit(130) from None
