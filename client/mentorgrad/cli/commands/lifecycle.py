"""`mentorgrad runs watch|cancel|finish|pause|resume|tag|note|delete`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from mentorgrad.cli.support import short_ids
from mentorgrad.cli.support.flag_text import pairs_of, suffix
from mentorgrad.cli.support.options import (
    DEFAULT_SERVER,
    JsonOption,
    MirrorOption,
    RunArgument,
    ServerOption,
)
from mentorgrad.cli.support.output import Output, name_values, note
from mentorgrad.cli.support.service_access import open_client
from mentorgrad.errors import InvalidInput

if TYPE_CHECKING:
    from mentorgrad.client import Client
    from mentorgrad.domain.run import Run


app = typer.Typer()


@app.command("watch", epilog="Example: mentorgrad runs watch RUN --from-start")
def _watch(
    run_id: RunArgument,
    after_seq: Annotated[
        int | None,
        typer.Option(
            "--after-seq",
            min=0,
            help="Skip events up to and including this sequence number. Default: those that an "
            "earlier command has shown.",
        ),
    ] = None,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Show all events, also those shown earlier.")
    ] = False,
    mirror: MirrorOption = "",
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
) -> None:
    """Watch a run until it ends. Ctrl-C stops watching, never the run.

    Goes on where this user stopped watching the run; with --json, starts with the first event.
    """
    from mentorgrad.cli.support.mirroring import opened_by_flag
    from mentorgrad.cli.support.watching import start_of, watch_run
    from mentorgrad.domain.run import RunState

    if from_start and after_seq is not None:
        raise InvalidInput.field("--from-start", "cannot be given with --after-seq")
    out = Output(as_json)
    with opened_by_flag(mirror) as mirrored, open_client(server) as client:
        run = client.get_run(short_ids.run_id(client, run_id))
        start, position = start_of(client, run, out, 0 if from_start else after_seq)
        state = watch_run(client, run, out, start, position, mirrored)
    if state is RunState.FAILED:
        raise typer.Exit(1)


def _asked(
    run_id: str, server: str, as_json: bool, change: Callable[[Client, str], Run], what: str
) -> str:
    """Asks for a change of a run, and says what it will be; returns the run's whole id."""
    with open_client(server) as client:
        run = change(client, short_ids.run_id(client, run_id))
    Output(as_json).result(run, f"{run.run_id} {what}; current state: {run.state}")
    return run.run_id


@app.command("cancel", epilog="Example: mentorgrad runs cancel RUN")
def _cancel(
    run_id: RunArgument, server: ServerOption = DEFAULT_SERVER, as_json: JsonOption = False
) -> None:
    """Cancel a run. A running one stops at its next step; its best so far can be downloaded."""
    _asked(run_id, server, as_json, lambda client, run: client.cancel_run(run), "will be cancelled")


@app.command("finish", epilog="Example: mentorgrad runs finish RUN")
def _finish(
    run_id: RunArgument, server: ServerOption = DEFAULT_SERVER, as_json: JsonOption = False
) -> None:
    """End a running run early, with a result: its best so far is tested, beside the baselines."""
    _asked(run_id, server, as_json, lambda client, run: client.finish_run(run), "will be finished")


@app.command("pause", epilog="Example: mentorgrad runs pause RUN")
def _pause(
    run_id: RunArgument, server: ServerOption = DEFAULT_SERVER, as_json: JsonOption = False
) -> None:
    """Save a checkpoint of a run and free its worker."""
    run_id = _asked(
        run_id, server, as_json, lambda client, run: client.pause_run(run), "will be paused"
    )
    note(f"continue it with: mentorgrad runs resume {run_id}{suffix(server)}")


@app.command("resume", epilog="Example: mentorgrad runs resume RUN")
def _resume(
    run_id: RunArgument, server: ServerOption = DEFAULT_SERVER, as_json: JsonOption = False
) -> None:
    """Queue a paused or interrupted run again; it resumes exactly from its last checkpoint."""
    _asked(run_id, server, as_json, lambda client, run: client.resume_run(run), "will be resumed")


@app.command("tag", epilog="Example: mentorgrad runs tag RUN team=vision --remove draft")
def _tag(
    run_id: RunArgument,
    labels: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="Labels to set.")
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option("--remove", metavar="NAME", help="Label to remove (repeatable)."),
    ] = None,
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
) -> None:
    """Set or remove labels of a run, in any state."""
    given = pairs_of("NAME=VALUE", labels or ())
    if not given and not remove:
        raise InvalidInput("give labels to set as NAME=VALUE, or to remove with --remove NAME")
    with open_client(server) as client:
        whole = short_ids.run_id(client, run_id)
        run = client.update_run(whole, given, remove_labels=remove or ())
    Output(as_json).result(run, f"labels of {run.run_id}: {name_values(run.labels) or 'none'}")


@app.command("note", epilog='Example: mentorgrad runs note RUN "diverges after step 900"')
def _note(
    run_id: RunArgument,
    text: Annotated[
        str,
        typer.Argument(metavar="TEXT", help='The note; "-" reads standard input; "" removes it.'),
    ],
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
) -> None:
    """Write the note of a run, in any state; it replaces an earlier one."""
    said = sys.stdin.read().rstrip() if text == "-" else text
    with open_client(server) as client:
        run = client.update_run(short_ids.run_id(client, run_id), note=said)
    what = f"note of {run.run_id} written" if run.note else f"{run.run_id} has no note"
    Output(as_json).result(run, what)


@app.command("delete", epilog="Example: mentorgrad runs delete RUN --yes")
def _delete(
    run_id: RunArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
) -> None:
    """Delete a run that is not running, with its events and files."""
    with open_client(server) as client:
        run_id = short_ids.run_id(client, run_id)
        if not yes:
            typer.confirm(f"permanently delete run {run_id}?", abort=True, err=True)
        client.delete_run(run_id)
    Output(as_json).result({"deleted": run_id}, f"{run_id} deleted")
