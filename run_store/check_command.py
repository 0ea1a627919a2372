"""`mentorgrad store check`: whether the parts of a store agree with each other."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from mentorgrad.cli.support.options import JsonOption
from mentorgrad.cli.support.output import Output, counted, note
from run_store.command_options import ReadableStoreOption

app = typer.Typer()


@app.command("check", epilog="Example: mentorgrad store check --store sqlite:///runs.sqlite")
def _check(
    store: ReadableStoreOption,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Only logs, references and what lists find runs by; not the database's file, "
            "snapshots and bytes.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a store while services use it. Exit code 1 if something is wrong."""
    from run_store.open import open_store

    with closing(open_store(store, read_only=True)) as opened:
        found = list(opened.findings(quick=quick))
    out = Output(as_json)
    if as_json:
        out.json({"findings": found})
    elif found:
        out.table(("check", "record", "finding"), [(f.check, f.record, f.message) for f in found])
    if found:
        note(f"{counted(len(found), 'finding')}")
        raise typer.Exit(1)
    if not as_json:
        note("nothing is wrong")
