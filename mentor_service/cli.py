"""The mentor service's command: ``mentorgrad serve mentor``."""

from __future__ import annotations

import typer

from mentor_service import composition
from mentor_service.settings import MentorSettings
from mentorgrad.errors import InvalidInput, MentorgradError
from service_common.settings import command

app = typer.Typer(help="The mentor service: a language model that proposes restarts.")


@app.callback()
def _group() -> None:
    """Keeps the command a sub-command, as it is when it joins the others."""


def _serve(settings: MentorSettings) -> None:
    composition.run(settings)


app.command("serve")(
    command(
        MentorSettings,
        _serve,
        "Serve proposals of a language model.\n\n"
        "Example: mentorgrad serve mentor --listen 127.0.0.1:50552 --threads 2",
    )
)


def main() -> None:
    """Runs the command; an error is one readable line, a wrong setting exit code 2."""
    try:
        app()
    except InvalidInput as error:
        typer.echo(f"error: {error.message}", err=True)
        raise SystemExit(2) from None
    except MentorgradError as error:
        typer.echo(f"error: {error.message}", err=True)
        raise SystemExit(1) from None
