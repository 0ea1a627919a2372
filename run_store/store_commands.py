"""`mentorgrad store`: prepares the database of a run store."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from mentorgrad.cli.support.options import JsonOption
from mentorgrad.cli.support.output import Output

app = typer.Typer(
    add_completion=False,
    help="Prepare the database of a run store.",
    no_args_is_help=True,
    epilog="Example: mentorgrad store migrate --store sqlite:///runs.sqlite",
)


@app.command("migrate", epilog="Example: mentorgrad store migrate --store sqlite:///runs.sqlite")
def migrate(
    store: Annotated[
        str,
        typer.Option(
            "--store",
            metavar="URL",
            envvar="MENTORGRAD_TRAINER_STORE",
            help="sqlite:///FILE or postgresql://...; a user who may create tables.",
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Create the tables of a run store, or migrate them to the schema of this installation.

    A trainer service does the same when it starts, if its user may.
    """
    from run_store.open import open_store
    from run_store.schema_version import HEAD

    with closing(open_store(store)) as opened:
        where = opened.url
    Output(as_json).result({"store": where, "schema": HEAD}, f"{where} has schema {HEAD}")


@app.callback()
def _root() -> None:
    """Keeps `migrate` a subcommand."""
