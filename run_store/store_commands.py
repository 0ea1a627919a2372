"""`mentorgrad store`: prepares the database of a run store, and cares for it."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from mentorgrad.cli.support.options import JsonOption
from mentorgrad.cli.support.output import Output
from run_store import check_command, copy_commands, gc_command

app = typer.Typer(
    add_completion=False,
    help="Prepare, shrink, check, back up and restore the database of a run store.",
    no_args_is_help=True,
    epilog="Example: mentorgrad store check --store sqlite:///runs.sqlite",
)
app.add_typer(gc_command.app)
app.add_typer(check_command.app)
app.add_typer(copy_commands.app)


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
