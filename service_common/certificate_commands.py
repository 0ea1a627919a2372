"""`mentorgrad certs`: certificates for development."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mentorgrad.cli.support.extras import require_extras
from mentorgrad.cli.support.options import JsonOption
from mentorgrad.cli.support.output import Output

app = typer.Typer(
    add_completion=False,
    help="Certificates for development.",
    no_args_is_help=True,
    epilog="Example: mentorgrad certs dev certs --host gpu1.lan",
)


@app.callback()
def _group() -> None:
    """Keeps `dev` a command of its own."""


@app.command("dev", epilog="Example: mentorgrad certs dev certs --host gpu1.lan --host 10.0.0.5")
def dev(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go.")],
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host", metavar="NAME", help="Name or address of the service's host; repeat it."
        ),
    ] = None,
    days: Annotated[
        int, typer.Option("--days", min=1, max=3650, help="How long the certificates are valid.")
    ] = 90,
    as_json: JsonOption = False,
) -> None:
    """Make a server's and a client's certificate, and an authority for them if DIR holds none.

    Call it again to renew the certificates: services take up the new ones without a restart.
    """
    require_extras("this command", (), "service", "cryptography")
    from service_common.certificates import make

    made = make(folder, host or (), days)
    out = Output(as_json)
    if as_json:
        out.json({name: str(value) for name, value in asdict(made).items() if name != "is_new"})
        return
    out.pairs(
        [
            ("authority", f"{made.ca}" + ("" if made.is_new else " (kept)")),
            ("its key", f"{made.ca_key} (keep it on this machine)"),
            ("for services", f"--tls-certificate {made.server} --tls-key {made.server_key}"),
            ("for mutual TLS", f"--tls-client-ca {made.ca}"),
            ("for clients", f"--ca {made.ca} --cert {made.client} --key {made.client_key}"),
        ]
    )
