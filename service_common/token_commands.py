"""`mentorgrad tokens`: creates, lists and revokes the access tokens of services."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mentorgrad.cli.support.flag_text import choice
from mentorgrad.cli.support.options import JsonOption
from mentorgrad.cli.support.output import Output, note
from mentorgrad.cli.support.output_paths import output_file

if TYPE_CHECKING:
    from service_common.tokens import TokenRecord

FileOption = Annotated[
    Path,
    typer.Option(
        "--tokens",
        metavar="FILE",
        envvar="MENTORGRAD_TOKENS",
        help="Token file; start the services with the same file.",
    ),
]
DEFAULT_FILE = Path("tokens.json")

app = typer.Typer(
    add_completion=False,
    help="Create, list and revoke access tokens of services.",
    no_args_is_help=True,
    epilog="Example: mentorgrad tokens create alice --scope run",
)


@app.command(
    "create", epilog="Example: mentorgrad tokens create alice --scope run --out alice.token"
)
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whom or what the token is for.")],
    scope: Annotated[
        list[str],
        typer.Option(
            "--scope",
            metavar="SCOPE",
            help="What the token allows (repeatable). predict: predict; read: also read runs; run: "
            "also create and control runs, and ask mentors; admin: also delete runs, and see and "
            "change everybody's. service is for a trainer's calls of its mentors, on behalf of the "
            "runs' owners, and allows nothing else.",
        ),
    ],
    owner: Annotated[
        str,
        typer.Option(
            "--owner",
            metavar="OWNER",
            help="Whose runs it creates and sees; several tokens may have the same owner. "
            "Default: NAME.",
        ),
    ] = "",
    project: Annotated[
        str,
        typer.Option(
            "--project",
            metavar="PROJECT",
            help="Project whose members see and change each other's runs. Default: none.",
        ),
    ] = "",
    queue_limit: Annotated[
        int | None,
        typer.Option(
            "--queue-limit", min=1, help="Maximum queued runs of the owner. Default: the service's."
        ),
    ] = None,
    experiment_limit: Annotated[
        int | None,
        typer.Option(
            "--experiment-limit",
            min=1,
            help="Maximum running experiments of the owner. Default: the service's.",
        ),
    ] = None,
    session_limit: Annotated[
        int | None,
        typer.Option(
            "--session-limit",
            min=1,
            help="Maximum open sessions of the owner with a mentor. Default: the service's.",
        ),
    ] = None,
    call_rate: Annotated[
        float | None,
        typer.Option(
            "--call-rate",
            min=0.1,
            help="Maximum calls per second of the owner. Default: the service's.",
        ),
    ] = None,
    run_limit: Annotated[
        int | None,
        typer.Option(
            "--run-limit", min=1, help="Maximum runs that the owner keeps. Default: the service's."
        ),
    ] = None,
    size_limit_mib: Annotated[
        int | None,
        typer.Option(
            "--size-limit-mib",
            min=1,
            help="Maximum size of the owner's ended runs, in MiB. Default: the service's.",
        ),
    ] = None,
    days: Annotated[
        int | None,
        typer.Option("--days", min=1, max=36_500, help="Days until expiry. Default: no expiry."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Write the token to this file (readable only by its owner) instead of printing "
            "it.",
        ),
    ] = None,
    tokens: FileOption = DEFAULT_FILE,
    as_json: JsonOption = False,
) -> None:
    """Create a token and print it once. Only its hash is stored."""
    from service_common import tokens as store

    if file is not None:
        output_file("--out", file)
    scopes = [choice("--scope", store.Scope, text) for text in scope]
    lasts = timedelta(days=days) if days is not None else None
    record, token = store.create(
        *(tokens, name, scopes, lasts),
        owner=owner,
        project=project,
        queue_limit=queue_limit,
        experiment_limit=experiment_limit,
        session_limit=session_limit,
        call_rate=call_rate,
        run_limit=run_limit,
        size_limit_mib=size_limit_mib,
    )
    out = Output(as_json)
    if file is not None:
        store.write_private(file, token.encode() + b"\n")
    if as_json:
        out.json({**_shown(record), **({"token": token} if file is None else {})})
    elif file is not None:
        out.line(f"token {record.token_id} for {record.name} written to {file}")
    else:
        note(f"token {record.token_id} for {record.name}; save it, it is not shown again:")
        out.line(token)


@app.command("list", epilog="Example: mentorgrad tokens list --tokens /etc/mentorgrad/tokens.json")
def list_tokens(tokens: FileOption = DEFAULT_FILE, as_json: JsonOption = False) -> None:
    """List the tokens: ID, name, owner, project, scopes, state and dates."""
    from service_common import tokens as store

    records = [_shown(record) for record in store.load(tokens)]
    out = Output(as_json)
    if as_json:
        out.json(records)
        return
    columns = ("id", "name", "owner", "project", "scopes", "state", "created", "expires")
    rows = []
    for record in records:
        record["scopes"] = ", ".join(record["scopes"])
        rows.append(tuple(record[column] or "" for column in columns))
    out.table(columns, rows)


@app.command("revoke", epilog="Example: mentorgrad tokens revoke 4f1c09ab")
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="Token ID, see `tokens list`.")],
    tokens: FileOption = DEFAULT_FILE,
    as_json: JsonOption = False,
) -> None:
    """Revoke a token. Running services stop accepting it at once."""
    from service_common import tokens as store

    record = store.revoke(tokens, token_id)
    text = f"token {record.token_id} of {record.name} is revoked"
    Output(as_json).result(_shown(record), text)


def _shown(record: TokenRecord) -> dict[str, Any]:
    """The record as JSON, without the token's digest."""
    expired = record.expires is not None and record.expires <= datetime.now(UTC)
    state = "revoked" if record.revoked is not None else "expired" if expired else "valid"
    return {
        "id": record.token_id,
        "name": record.name,
        "owner": record.owner,
        "project": record.project,
        "queue_limit": record.queue_limit,
        "experiment_limit": record.experiment_limit,
        "session_limit": record.session_limit,
        "call_rate": record.call_rate,
        "run_limit": record.run_limit,
        "size_limit_mib": record.size_limit_mib,
        "scopes": list(record.scopes),
        "state": state,
        "created": record.created.isoformat(timespec="seconds"),
        "expires": record.expires.isoformat(timespec="seconds") if record.expires else None,
    }
