"""The trainer's commands; `mentorgrad` mounts them by the entry-point group."""

from __future__ import annotations

import asyncio

import typer

from service_common.settings import command
from trainer_service.settings import TrainerSettings

app = typer.Typer(help="The trainer service: creates, executes and records runs.")


def run_service(settings: TrainerSettings) -> None:
    """Runs the service until it is told to stop."""
    from trainer_service.composition import serve

    asyncio.run(serve(settings))


serve = command(
    TrainerSettings,
    run_service,
    """Run a trainer service.

    Example: mentorgrad serve trainer --mentor small=127.0.0.1:50552 --store sqlite:///runs.sqlite
    """,
)
app.command("serve", help=serve.__doc__)(serve)


@app.callback()
def _root() -> None:
    """Keeps `serve` a command of its own, so that others can join it."""
