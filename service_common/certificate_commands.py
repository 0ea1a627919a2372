"""`mentorgrad certs`: creates certificates for development."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mentorgrad.cli.support.extras import require_extras
from mentorgrad.cli.support.options import JsonOption
from mentorgrad.cli.support.output import Output
from mentorgrad.cli.support.output_paths import output_folder

app = typer.Typer(
    add_completion=False,
    help="Create TLS certificates for development.",
    no_args_is_help=True,
    epilog="Example: mentorgrad certs dev certs --host gpu1.lan",
)


@app.callback()
def _group() -> None:
    """Keeps `dev` a subcommand."""


@app.command("dev", epilog="Example: mentorgrad certs dev certs --host gpu1.lan --host 10.0.0.5")
def dev(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Output folder.")],
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host",
            metavar="NAME",
            help="Host name or IP address of a service (repeatable).",
        ),
    ] = None,
    days: Annotated[
        int, typer.Option("--days", min=1, max=3650, help="Days until the certificates expire.")
    ] = 90,
    as_json: JsonOption = False,
) -> None:
    """Create a server and a client certificate, and a CA for them if DIR has none.

    Run it again to renew the certificates. Running services load the new ones.
    """
    require_extras("this command", (), "service", "cryptography")
    from service_common.certificates import make

    made = make(output_folder("DIR", folder), host or (), days)
    out = Output(as_json)
    if as_json:
        out.json({name: str(value) for name, value in asdict(made).items() if name != "is_new"})
        return
    out.pairs(
        [
            ("CA", f"{made.ca}" + ("" if made.is_new else " (kept)")),
            ("CA key", f"{made.ca_key} (keep it on this machine)"),
            ("for services", f"--tls-certificate {made.server} --tls-key {made.server_key}"),
            ("for mTLS", f"--tls-client-ca {made.ca}"),
            ("for clients", f"--ca {made.ca} --cert {made.client} --key {made.client_key}"),
        ]
    )
