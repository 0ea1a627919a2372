"""`mentorgrad runs`: list, show, compare, control, export and plot runs."""

from __future__ import annotations

import typer

from mentorgrad.cli.commands import inspection, lifecycle, transfer

app = typer.Typer(
    help="List, show, control, export and plot runs.",
    no_args_is_help=True,
    epilog="Example: mentorgrad runs list --store sqlite:///runs.sqlite",
)
inspection.register(app)
lifecycle.register(app)
transfer.register(app)
