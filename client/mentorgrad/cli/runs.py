"""`mentorgrad runs`: list, show, compare, steer, move and draw runs."""

from __future__ import annotations

import typer

from mentorgrad.cli import files, reading, steering

app = typer.Typer(
    help="Look at runs and steer them.",
    no_args_is_help=True,
    epilog="Example: mentorgrad runs list --store sqlite:///runs.sqlite",
)
reading.register(app)
steering.register(app)
files.register(app)
