"""The trainer's command, ``mentorgrad serve trainer``."""

from __future__ import annotations

import asyncio

import typer

from service_common.settings import command
from trainer_service.settings import TrainerSettings

app = typer.Typer(help="The trainer service: executes and records runs.")


def run_service(settings: TrainerSettings) -> None:
    """Runs the service until SIGTERM or Ctrl-C."""
    from trainer_service.composition import serve

    asyncio.run(serve(settings))


serve = command(
    TrainerSettings,
    run_service,
    """Start the trainer service, which executes runs and records them in a store.

    Flags override environment variables, which override the file given with --config.

    Example: mentorgrad serve trainer --mentor small=127.0.0.1:50552 --store sqlite:///runs.sqlite
    """,
)
app.command("serve", help=serve.__doc__)(serve)


@app.callback()
def _root() -> None:
    """Keeps `serve` a subcommand."""
