"""The mentor's command, ``mentorgrad serve mentor``."""

from __future__ import annotations

import typer

from mentor_service import composition
from mentor_service.settings import MentorSettings
from service_common.settings import command

app = typer.Typer(help="The mentor service: proposes restarts with a language model.")


@app.callback()
def _group() -> None:
    """Keeps `serve` a subcommand."""


app.command("serve")(
    command(
        MentorSettings,
        composition.run,
        "Start the mentor service, which proposes restarts with a language model.\n\n"
        "Flags override environment variables, which override the file given with --config.\n\n"
        "Example: mentorgrad serve mentor --listen 127.0.0.1:50552 --threads 2",
    )
)
