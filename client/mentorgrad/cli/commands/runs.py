"""`mentorgrad runs`: list, show, compare, control, export and plot runs."""

from __future__ import annotations

import typer

from mentorgrad.cli.commands import inspection, lifecycle, trajectory, transfer

app = typer.Typer(
    help="List, show, control, export and plot runs.",
    no_args_is_help=True,
    epilog="Example: mentorgrad runs list --store sqlite:///runs.sqlite",
)
app.add_typer(inspection.app)
app.add_typer(lifecycle.app)
app.add_typer(trajectory.app)
app.add_typer(transfer.app)
