"""The predict service's command, ``mentorgrad serve predictor``."""

from __future__ import annotations

import typer

from service_common.settings import command
from trainer_service.prediction.settings import PredictorSettings

app = typer.Typer(help="The predict service: predicts with the files of a finished run.")


def run_service(settings: PredictorSettings) -> None:
    """Runs the service until SIGTERM or Ctrl-C."""
    from trainer_service.prediction.service import run

    run(settings)


serve = command(
    PredictorSettings,
    run_service,
    """Start the predict service, which predicts with the files of a finished run.

    Flags override environment variables, which override the file given with --config.

    Example: mentorgrad serve predictor result --listen 127.0.0.1:50553
    """,
)
app.command("serve", help=serve.__doc__)(serve)


@app.callback()
def _root() -> None:
    """Keeps `serve` a subcommand."""
