"""`mentorgrad trainer`: shows what a trainer service offers."""

from __future__ import annotations

import typer

from mentorgrad.cli.support.options import DEFAULT_SERVER, JsonOption, ServerOption
from mentorgrad.cli.support.output import Output, mebibytes
from mentorgrad.cli.support.service_access import open_client

app = typer.Typer(
    help="Show what a trainer service offers.",
    no_args_is_help=True,
    epilog="Example: mentorgrad trainer info",
)


@app.callback()
def _root() -> None:
    """Keeps `info` a subcommand."""


@app.command("info", epilog="Example: mentorgrad trainer info --server 127.0.0.1:50551")
def info(server: ServerOption = DEFAULT_SERVER, as_json: JsonOption = False) -> None:
    """Show a trainer's devices, mentors and limits, and what specs may name."""
    with open_client(server) as client:
        found = client.trainer_info()
    out = Output(as_json)
    if as_json:
        out.json(found)
        return
    out.pairs(
        [
            ("version", found.version),
            ("devices", ", ".join(found.devices)),
            ("concurrent runs", str(found.worker_slots)),
            ("queued runs", f"{found.queued_runs} of at most {found.queue_limit}"),
            ("largest upload", mebibytes(found.upload_limit_bytes)),
            ("objectives", ", ".join(found.objectives)),
            ("optimizers", ", ".join(found.optimizers)),
            ("tasks", ", ".join(found.tasks)),
            ("served models", ", ".join(found.tuned_models)),
            ("webhooks", ", ".join(found.webhooks)),
        ]
    )
    rows = [(one.name, "yes" if one.available else "no", one.model) for one in found.mentors]
    out.table(("mentor", "available", "model"), rows)
