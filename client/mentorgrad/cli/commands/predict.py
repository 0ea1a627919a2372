"""`mentorgrad predict`: labels for the rows of a file, by what a run left."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console

from mentorgrad.cli.support.input_rows import LINES, InputRow, rows_of
from mentorgrad.cli.support.options import JsonOption
from mentorgrad.cli.support.output import Output, counted, note, number
from mentorgrad.cli.support.predicted_rows import (
    Agreement,
    RowColumns,
    RowWriter,
    choose_columns,
    predicted_rows,
)
from mentorgrad.errors import InvalidInput
from mentorgrad.files import replacing
from mentorgrad.predictor import Predictor

app = typer.Typer()

_KINDS = ("csv", "tsv", "jsonl")
_SHOWN = 20
"""Rows that cannot be read of which the reasons are printed."""
_EVERY = 1000
"""Rows between two updates of the progress."""


@app.command("predict", epilog="Example: mentorgrad predict result new.csv -o out.csv")
def _predict(
    result: Annotated[
        Path, typer.Argument(metavar="RESULT", help="Folder with the files of a run.")
    ],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="CSV, TSV or JSONL file; -: standard input, one text per line."
        ),
    ] = LINES,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Output file: .csv, .tsv or .jsonl."),
    ] = None,
    text: Annotated[str, typer.Option("--text", metavar="COLUMN", help="Text column.")] = "",
    pair: Annotated[
        str, typer.Option("--pair", metavar="COLUMN", help="Column of the second text.")
    ] = "",
    label: Annotated[
        str,
        typer.Option(
            "--label",
            metavar="COLUMN",
            help="Column of known labels: print how well they are predicted.",
        ),
    ] = "",
    use: Annotated[
        str,
        typer.Option(
            "--use",
            metavar="prompt|words|probe",
            help="What predicts: the tuned prompt, the prompt in words, or the linear probe.",
        ),
    ] = "",
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail at the first row that cannot be read.")
    ] = False,
    model: Annotated[
        str, typer.Option("--model", metavar="REFERENCE", help="Model, if it has moved.")
    ] = "",
    model_root: Annotated[
        list[Path] | None,
        typer.Option("--model-root", metavar="FOLDER", help="Folder of models (repeatable)."),
    ] = None,
    tuned_model: Annotated[
        list[str] | None,
        typer.Option(
            "--tuned-model", metavar="NAME=URL", help="Address of a served model (repeatable)."
        ),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", metavar="DEVICE", help="Torch device, such as cpu.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Predict the labels of the rows of a file with the files of a finished run.

    Writes the columns of the input, the predicted label and the probability of each label: to
    the output file, or to standard output (with --json as JSON lines). "mentorgrad runs download
    RUN --into RESULT" writes the folder.
    """
    kind = _kind(output, as_json)
    with Predictor.load(
        result,
        use or None,
        device=device or None,
        model=model,
        model_roots=model_root or (),
        tuned_models=_named(tuned_model or ()),
    ) as predictor:
        done = _Pass(predictor, RowColumns(text, pair, label), strict)
        with _opened(output) as target, _progress() as show:
            done.run(rows_of(file), target, kind, show)
    _report(done, output, as_json)


class _Pass:
    """One pass over a file.

    Args:
        predictor: Predicts.
        asked: The columns that were asked for; empty: none.
        strict: Whether the first row that cannot be read is an error.
    """

    def __init__(self, predictor: Predictor, asked: RowColumns, strict: bool) -> None:
        self._predictor = predictor
        self._asked = asked
        self._strict = strict
        self.written = 0
        """Rows that were written."""
        self.left_out = 0
        """Rows that could not be read or predicted."""
        self.agreement = Agreement(predictor) if asked.label else None
        """How well the known labels were predicted."""

    def run(self, rows: Iterator[InputRow], target: TextIO, kind: str, show: Any) -> None:
        """Predicts and writes the rows."""
        before: list[InputRow] = []
        first = None
        for first in rows:
            if not first.error:
                break
            before.append(first)
        for row in before:
            self._leave_out(row)
        if first is None or first.error:
            raise InvalidInput("there is no row that can be read")
        known = list(first.values)
        columns = choose_columns(known, self._asked, self._predictor)
        writer = RowWriter(target, kind, known, self._predictor.labels)
        for row, shares in predicted_rows(
            chain([first], rows), self._predictor, columns, self._leave_out
        ):
            writer.write(row, shares)
            self.written += 1
            if self.agreement is not None:
                self.agreement.add(row.values.get(columns.label), shares)
            if self.written % _EVERY == 0:
                show(counted(self.written, "row"))

    def _leave_out(self, row: InputRow) -> None:
        if self._strict:
            raise InvalidInput(f"{row.where}: {row.error}")
        self.left_out += 1
        if self.left_out <= _SHOWN:
            note(f"left out: {row.where}: {row.error}")


def _report(done: _Pass, output: Path | None, as_json: bool) -> None:
    agreement = done.agreement
    if output is not None and as_json:
        facts: dict[str, Any] = {
            "rows": done.written,
            "left_out": done.left_out,
            "file": str(output),
        }
        if agreement is not None:
            facts["agreement"] = agreement.facts()
        Output(True).json(facts)
        return
    left_out = f"; {counted(done.left_out, 'row')} left out" if done.left_out else ""
    if output is not None:
        Output().line(f"{counted(done.written, 'row')} written to {output}{left_out}")
    elif left_out:
        note(left_out.removeprefix("; "))
    if agreement is not None:
        # Where the rows themselves are on standard output, the figures are on standard error.
        _show(agreement, Output(as_json=output is None))


def _show(agreement: Agreement, out: Output) -> None:
    facts = agreement.facts()
    labels = facts["labels"]
    out.pairs(
        [
            ("rows with a known label", str(agreement.rows)),
            ("accuracy", number(agreement.accuracy, 3)),
            ("macro F1", number(agreement.macro_f1, 3)),
        ]
    )
    if agreement.unknown:
        out.line(f"{counted(agreement.unknown, 'row')} with other labels")
    matrix = [
        [label, *map(str, row)] for label, row in zip(labels, facts["confusion"], strict=True)
    ]
    out.table(("label \\ predicted", *labels), matrix)


def _kind(output: Path | None, as_json: bool) -> str:
    if output is None:
        return "jsonl" if as_json else "csv"
    kind = output.suffix.casefold().removeprefix(".")
    if kind not in _KINDS:
        raise InvalidInput.field("--output", f"must end in .csv, .tsv or .jsonl, not {output.name}")
    return kind


def _named(pairs: Sequence[str]) -> dict[str, str]:
    found = {}
    for item in pairs:
        name, separator, url = item.partition("=")
        if not (name and separator and url):
            raise InvalidInput.field("--tuned-model", f"must be NAME=URL, not {item!r}")
        found[name] = url
    return found


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """The output file, which is written as a whole or not at all; None: standard output. In UTF-8
    whatever the locale is."""
    with contextlib.nullcontext(sys.stdout.buffer) if output is None else replacing(output) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        try:
            yield text
        finally:
            text.detach()


@contextlib.contextmanager
def _progress() -> Iterator[Any]:
    """Shows on standard error, if it is a terminal, how far it is."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda text: None
        return
    with console.status("predicting") as status:
        yield lambda text: status.update(f"predicting: {text}")
