"""`mentorgrad predict`: labels for the rows of a file, by what a run left."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from mentorgrad.cli.support.options import JsonOption, PredictServerOption
from mentorgrad.cli.support.output import Output, counted, note, number
from mentorgrad.cli.support.output_paths import output_file
from mentorgrad.cli.support.predicted_rows import (
    TEXT,
    Agreement,
    RowColumns,
    choose_columns,
    predicted_rows,
)
from mentorgrad.cli.support.row_files import KINDS, row_file
from mentorgrad.cli.support.service_access import open_predictor
from mentorgrad.cli.support.table_options import (
    DelimiterOption,
    EncodingOption,
    QuotingOption,
    SheetOption,
    delimiter_character,
)
from mentorgrad.errors import InvalidInput
from mentorgrad.files import replacing
from mentorgrad.predictor import Predictor
from mentorgrad.standard_streams import rows_output
from mentorgrad.tables.malformed import MalformedError
from mentorgrad.tables.records import FileRecord, Refuse, RowPlace

app = typer.Typer()

_LINES = Path("-")
"""Stands for standard input, with one text per line."""
_SHOWN = 20
"""Rows that are named, of those that cannot be read and of those that are cut."""
_EVERY = 1000
"""Rows between two updates of the progress."""


@app.command("predict", epilog="Example: mentorgrad predict result new.csv -o out.csv")
def _predict(
    result: Annotated[
        Path | None,
        typer.Argument(
            metavar="RESULT", help="Folder with the files of a run; left out with --server."
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="CSV, TSV, JSONL, JSON, parquet, Arrow or Excel file; -: standard input, one text "
            "per line.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Output file: .csv, .tsv, .jsonl or .parquet."
        ),
    ] = None,
    text: Annotated[
        str,
        typer.Option(
            "--text", metavar="COLUMN", help="Column of the text. Default: that of the run."
        ),
    ] = "",
    pair: Annotated[
        str, typer.Option("--pair", metavar="COLUMN", help="Column of the second text.")
    ] = "",
    choices: Annotated[
        list[str] | None,
        typer.Option(
            "--choice",
            metavar="COLUMN",
            help="Column of a choice, in the order of the labels (repeatable).",
        ),
    ] = None,
    label: Annotated[
        str,
        typer.Option(
            "--label",
            metavar="COLUMN",
            help="Column of known labels: print how well they are predicted.",
        ),
    ] = "",
    delimiter: DelimiterOption = "",
    encoding: EncodingOption = "",
    quoting: QuotingOption = "",
    sheet: SheetOption = "",
    use: Annotated[
        str,
        typer.Option(
            "--use",
            metavar="prompt|words|probe",
            help="What predicts: the tuned prompt, the prompt in words, or the linear probe. "
            "Default: what the folder names; otherwise the tuned prompt.",
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
    server: PredictServerOption = "",
    as_json: JsonOption = False,
) -> None:
    """Predict the labels of the rows of a file with the files of a finished run.

    Writes the columns of the input, the predicted label and the probability of each label: to
    the output file, or to standard output (with --json as JSON lines). "mentorgrad runs download
    RUN --into RESULT" writes the folder.
    """
    kind = _kind(output, as_json)
    asked = RowColumns(text, pair, label, tuple(choices or ()))
    form = {
        "delimiter": delimiter_character(delimiter),
        "encoding": encoding,
        "quoting": quoting,
        "sheet": sheet,
    }
    local: dict[str, Any] = {
        "use": use or None,
        "device": device or None,
        "model": model,
        "model_roots": model_root or [],
        "tuned_models": _named(tuned_model or ()),
    }
    if server:
        if file is not None or any(local.values()):
            given = "the service has its own result, model and device: give the file alone"
            raise InvalidInput.field("--server", given)
        file, result = result, None
    elif result is None:
        raise InvalidInput("give the folder with the files of a run, or --server HOST:PORT")
    file = file or _LINES
    table = _lines_of_stdin() if file == _LINES else _table(file, asked, form)
    opened = open_predictor(server) if result is None else Predictor.load(result, **local)
    with opened as predictor:
        done = _Pass(predictor, asked, strict)
        with _opened(output) as target, _progress() as show:
            done.run(table, target, kind, show)
    _report(done, output, as_json)


@dataclass(frozen=True)
class _InputTable:
    """The rows of a file."""

    name: str
    """What it is called in messages."""
    columns: Sequence[str]
    """Names of the columns."""
    records: Callable[[Refuse], Iterator[FileRecord]]
    """Reads the rows; gives the errors of those that cannot be read to a function."""
    schema: Any = None
    """Arrow schema with the types of the columns, of a file that has them."""
    folder: Path = Path()
    """Folder that paths of images are relative to."""


def _table(path: Path, asked: RowColumns, form: dict[str, str]) -> _InputTable:
    from mentorgrad.tables.reading import refusals_of
    from mentorgrad.tables.report import printable
    from mentorgrad.tables.source import open_source

    with refusals_of(path):
        named = (asked.text, asked.pair, *asked.choices, asked.label)
        wanted = [name for name in named if name]
        source = open_source(path, wanted, **form)
        columns, schema = source.every_column(), source.schema()
    for remark in source.remarks:
        note(f"{path.name}: {remark}")

    def read(refuse: Refuse) -> Iterator[FileRecord]:
        with refusals_of(path):
            yield from source.records(source.columns, refuse)

    return _InputTable(printable(str(path)), columns, read, schema, path.parent)


def _lines_of_stdin() -> _InputTable:
    from mentorgrad.tables.reading import refusals_of
    from mentorgrad.tables.records import line_records

    name = "standard input"

    def read(refuse: Refuse) -> Iterator[FileRecord]:
        with refusals_of(Path(name)):
            yield from line_records(sys.stdin.buffer, TEXT, refuse)

    return _InputTable(name, [TEXT], read)


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
        self.cut = 0
        """Rows whose text was cut."""
        self.agreement = Agreement(predictor) if asked.label else None
        """How well the known labels were predicted."""

    def run(
        self, table: _InputTable, target: BinaryIO, kind: str, show: Callable[[str], None]
    ) -> None:
        """Predicts and writes the rows: the columns of the input, then ``label``
        (``predicted_label`` if the input has ``label``), and ``p_LABEL`` for each label."""
        labels = self._predictor.labels
        columns = choose_columns(table.columns, self._asked, self._predictor)
        label = "predicted_label" if "label" in table.columns else "label"
        added = [label, *(f"p_{word}" for word in labels)]
        if both := [name for name in added if name in table.columns]:
            raise InvalidInput(f"the input already has a column {both[0]!r}, which is added here")

        def refuse(error: MalformedError) -> None:
            self._leave_out(f"{table.name}: {error}")

        def cut(where: RowPlace) -> None:
            self.cut += 1
            if self.cut <= _SHOWN:
                note(f"cut: {table.name}: {where}: longer than the model's room for a text")

        records = table.records(refuse)
        rows = predicted_rows(records, self._predictor, columns, refuse, cut, table.folder)
        first = next(rows, None)
        if first is None:
            raise InvalidInput(f"{table.name}: there is no row that can be read")
        file = row_file(kind, target, [*table.columns, *added], added[1:], table.schema)
        with contextlib.closing(file):
            for values, shares in chain([first], rows):
                predicted = [labels[int(shares.argmax())], *(round(float(x), 6) for x in shares)]
                file.write({**values, **dict(zip(added, predicted, strict=True))})
                self.written += 1
                if self.agreement is not None:
                    self.agreement.add(values.get(columns.label), shares)
                if self.written % _EVERY == 0:
                    show(counted(self.written, "row"))

    def _leave_out(self, reason: str) -> None:
        if self._strict:
            raise InvalidInput(reason)
        self.left_out += 1
        if self.left_out <= _SHOWN:
            note(f"left out: {reason}")


def _report(done: _Pass, output: Path | None, as_json: bool) -> None:
    agreement = done.agreement
    if output is not None and as_json:
        facts: dict[str, Any] = {
            "rows": done.written,
            "left_out": done.left_out,
            "cut": done.cut,
            "file": str(output),
        }
        if agreement is not None:
            facts["agreement"] = agreement.facts()
        Output(True).json(facts)
        return
    said = {"left out": done.left_out, "cut": done.cut}
    parts = [f"{counted(rows, 'row')} {what}" for what, rows in said.items() if rows]
    if output is not None:
        written = f"{counted(done.written, 'row')} written to {output}"
        Output().line("; ".join([written, *parts]))
    elif parts:
        note("; ".join(parts))
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
    if kind not in KINDS:
        known = ", ".join(f".{one}" for one in KINDS)
        raise InvalidInput.field("--output", f"must end in one of {known}; not {output.name}")
    output_file("--output", output)
    return kind


def _named(pairs: Sequence[str]) -> dict[str, str]:
    found = {}
    for item in pairs:
        name, separator, url = item.partition("=")
        if not (name and separator and url):
            raise InvalidInput.field("--tuned-model", f"must be NAME=URL, not {item!r}")
        found[name] = url
    return found


def _opened(output: Path | None) -> contextlib.AbstractContextManager[BinaryIO]:
    """The output file, which is written as a whole or not at all; None: standard output."""
    return contextlib.nullcontext(rows_output()) if output is None else replacing(output)


@contextlib.contextmanager
def _progress() -> Iterator[Any]:
    """Shows on standard error, if it is a terminal, how far it is."""
    console = Output(as_json=True).console
    if not console.is_terminal:
        yield lambda text: None
        return
    with console.status("predicting") as status:
        yield lambda text: status.update(f"predicting: {text}")
