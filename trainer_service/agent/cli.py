"""The worker's command, ``mentorgrad serve worker``."""

from __future__ import annotations

import asyncio

import typer

from service_common.settings import command
from trainer_service.agent.settings import WorkerSettings

app = typer.Typer(help="A worker without a trainer service: executes the runs of a store.")


def run_service(settings: WorkerSettings) -> None:
    """Runs the worker until it is done, or until SIGTERM or Ctrl-C."""
    if settings.ray:
        from trainer_service.ray_agents import serve_on_ray

        asyncio.run(serve_on_ray(settings))
        return
    from trainer_service.worker_service import serve

    asyncio.run(serve(settings))


serve = command(
    WorkerSettings,
    run_service,
    """Start a worker that claims runs from the store of a trainer and executes them here.

    It listens on nothing: it only has to reach the store and the mentors.

    Flags override environment variables, which override the file given with --config.

    Example: mentorgrad serve worker --store postgresql://gpu1@db.lan/runs --label gpu=h200
    """,
)
app.command("serve", help=serve.__doc__)(serve)


@app.callback()
def _root() -> None:
    """Keeps `serve` a subcommand."""
