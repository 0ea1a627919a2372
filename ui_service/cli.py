"""The page's command, ``mentorgrad serve ui``."""

from __future__ import annotations

import typer

from service_common.settings import command
from ui_service import composition
from ui_service.settings import UiSettings

app = typer.Typer(help="The page: shows the runs of a trainer in a browser.")


@app.callback()
def _group() -> None:
    """Keeps `serve` a subcommand."""


app.command("serve")(
    command(
        UiSettings,
        composition.run,
        "Start the page, which shows the runs of a trainer in a browser.\n\n"
        "It is a client of the trainer and records nothing. Flags override environment variables, "
        "which override the file given with --config.\n\n"
        "Example: mentorgrad serve ui --server 127.0.0.1:50551",
    )
)
