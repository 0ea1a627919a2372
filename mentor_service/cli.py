"""The mentor's command, ``mentorgrad serve mentor``."""

from __future__ import annotations

import typer

from mentor_service import composition
from mentor_service.settings import MentorSettings
from mentorgrad.errors import InvalidInput, MentorgradError
from service_common.settings import command

app = typer.Typer(help="The mentor service: proposes restarts with a language model.")


@app.callback()
def _group() -> None:
    """Keeps `serve` a subcommand."""


def _serve(settings: MentorSettings) -> None:
    composition.run(settings)


app.command("serve")(
    command(
        MentorSettings,
        _serve,
        "Start the mentor service, which proposes restarts with a language model.\n\n"
        "Flags override environment variables, which override the file given with --config.\n\n"
        "Example: mentorgrad serve mentor --listen 127.0.0.1:50552 --threads 2",
    )
)


def main() -> None:
    """Runs the command. Prints an error as one line; exit code 2 for invalid settings, else 1."""
    try:
        app()
    except InvalidInput as error:
        typer.echo(f"error: {error.message}", err=True)
        raise SystemExit(2) from None
    except MentorgradError as error:
        typer.echo(f"error: {error.message}", err=True)
        raise SystemExit(1) from None
