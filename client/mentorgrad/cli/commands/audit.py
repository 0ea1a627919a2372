"""`mentorgrad audit`: who changed what on a trainer service, and who was refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from mentorgrad.cli.support.flag_text import utc
from mentorgrad.cli.support.options import (
    DEFAULT_SERVER,
    ColumnsOption,
    JsonOption,
    LimitOption,
    PageOption,
    ServerOption,
    SinceOption,
    StoreOption,
    UntilOption,
)
from mentorgrad.cli.support.output import Output, moment
from mentorgrad.cli.support.service_access import open_audit

if TYPE_CHECKING:
    from mentorgrad.domain.audit import AuditEntry

app = typer.Typer()


@app.command(
    "audit", epilog="Example: mentorgrad audit --action DeleteRun --since 2026-11-01 --limit 20"
)
def _audit(
    owner: Annotated[
        str, typer.Option("--owner", help="Only of callers that acted for this owner.")
    ] = "",
    caller: Annotated[
        str, typer.Option("--caller", metavar="NAME", help="Only of the token with this name.")
    ] = "",
    action: Annotated[
        str,
        typer.Option("--action", metavar="METHOD", help="Only this method, such as DeleteRun."),
    ] = "",
    record: Annotated[
        str,
        typer.Option(
            "--record", metavar="ID", help="Only this run, experiment or upload (whole ID)."
        ),
    ] = "",
    outcome: Annotated[
        str,
        typer.Option(
            "--outcome", metavar="OUTCOME", help="OK, or the reason of a refusal: SCOPE_MISSING."
        ),
    ] = "",
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = 50,
    page: PageOption = "",
    columns: ColumnsOption = "",
    server: ServerOption = DEFAULT_SERVER,
    store: StoreOption = "",
    as_json: JsonOption = False,
) -> None:
    """List who changed what and who was refused, newest first. Needs the scope admin."""
    from mentorgrad.domain.audit import AuditFilter

    wanted = AuditFilter(owner, caller, action, record, outcome, utc(since), utc(until))
    with open_audit(server, store) as reader:
        found = reader.list_audit(wanted, limit, page)
    Output(as_json).page(found, "entries", _COLUMNS, columns, _SPARE)


_COLUMNS: dict[str, Callable[[AuditEntry], str]] = {
    "time": lambda entry: moment(entry.time),
    "owner": lambda entry: entry.owner,
    "caller": lambda entry: entry.caller,
    "address": lambda entry: entry.address,
    "action": lambda entry: entry.action,
    "record": lambda entry: entry.record_id,
    "outcome": lambda entry: entry.outcome,
    "count": lambda entry: str(entry.count),
    "request": lambda entry: entry.request_id,
    "call": lambda entry: entry.call_id,
}

_SPARE = ("request", "call", "count", "address", "caller")
"""Columns that a narrow terminal does without, the first one first."""
