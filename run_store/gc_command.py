"""`mentorgrad store gc`: drops ended runs, or their raw data, by a policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mentorgrad.cli.support.flag_text import age, choice, pairs_of, size
from mentorgrad.cli.support.options import JsonOption
from mentorgrad.cli.support.output import Output, counted, moment, note, stored
from mentorgrad.errors import MentorgradError
from run_store.command_options import WritableStoreOption

if TYPE_CHECKING:
    from run_store.protocols import RunStore
    from run_store.retention import Drop, RetentionPolicy

app = typer.Typer()


@app.command(
    "gc",
    epilog="Example: mentorgrad store gc --store sqlite:///runs.sqlite --older-than 30d --raw "
    "--dry-run",
)
def _gc(
    store: WritableStoreOption,
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than", metavar="AGE", help="Only runs that ended so long ago: 36h, 30d, 8w."
        ),
    ] = "",
    keep: Annotated[
        str,
        typer.Option(
            "--keep",
            metavar="SIZE",
            help="Only until all runs have at most so many bytes, such as 500GiB: the oldest runs "
            "first lose their raw data, and then go.",
        ),
    ] = "",
    keep_per_owner: Annotated[
        str,
        typer.Option(
            "--keep-per-owner", metavar="SIZE", help="The same for the runs of each owner."
        ),
    ] = "",
    raw: Annotated[
        bool,
        typer.Option(
            "--raw",
            help="Drop only raw parameters and checkpoints; curves, candidates, results and files "
            "stay.",
        ),
    ] = False,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state", help="Only runs that succeeded, failed or were cancelled (repeatable)."
        ),
    ] = None,
    task: Annotated[str, typer.Option("--task", help="Only runs of this task.")] = "",
    owner: Annotated[str, typer.Option("--owner", help="Only runs of this owner.")] = "",
    experiment: Annotated[
        str, typer.Option("--experiment", metavar="ID", help="Only runs of this experiment.")
    ] = "",
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label", metavar="NAME=VALUE", help="Only runs with this label (repeatable)."
        ),
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(
            "--field",
            metavar="FIELD=VALUE",
            help="Only runs with this value of a field; see `mentorgrad runs list` (repeatable).",
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Allow a policy that concerns every ended run.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would go, and drop nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Drop ended runs, or their raw data, by age, size and filter. Services may be running.

    A run that has not ended, or is one of an unfinished experiment, stays in any case.
    """
    from mentorgrad.cli.support.field_conditions import conditions_of
    from mentorgrad.domain.query import RunFilter
    from mentorgrad.domain.run import RunState
    from run_store.open import open_store
    from run_store.retention import RetentionPolicy

    wanted = RunFilter(
        states=tuple(choice("--state", RunState, item) for item in state or ()),
        task=task,
        owner=owner,
        experiment_id=experiment,
        labels=pairs_of("--label", label or ()),
        fields=conditions_of("--field", field or ()),
    )
    policy = RetentionPolicy(
        wanted,
        older_than=age("--older-than", older_than) if older_than else None,
        keep=size("--keep", keep) if keep else None,
        keep_per_owner=size("--keep-per-owner", keep_per_owner) if keep_per_owner else None,
        raw_only=raw,
        all=every,
    )
    with closing(open_store(store, migrate=False)) as opened:
        _apply(opened, policy, dry_run, Output(as_json))


def _apply(store: RunStore, policy: RetentionPolicy, dry_run: bool, out: Output) -> None:
    from run_store.collection import carried_out, planned

    seen = store.seen_by(_by_command())
    drops = planned(seen, policy, datetime.now(UTC), save_sizes=not dry_run)
    if dry_run:
        _report(out, [(drop, drop.bytes) for drop in drops], dry_run=True)
        return
    done: list[tuple[Drop, int]] = []
    skipped = 0
    with _telling(done):
        for drop, freed in carried_out(seen, drops):
            if freed is None:
                skipped += 1
            else:
                done.append((drop, freed))
    _report(out, done, dry_run=False)
    if skipped:
        note(f"{counted(skipped, 'run')} changed meanwhile and stayed")
    if free := seen.free_bytes():
        note(f"{stored(free)} of the file are free for new runs; `store vacuum` gives them back")


def _by_command() -> Any:
    """Who drops, for the audit."""
    import getpass

    from mentorgrad.domain.audit import CallOrigin
    from run_store.visibility import OnBehalf

    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in a container
        user = "unknown"
    origin = CallOrigin(user, "local", "store gc")
    return OnBehalf("", "", is_admin=True, origin=origin)


@contextmanager
def _telling(done: Sequence[tuple[Drop, int]]) -> Iterator[None]:
    """If the block fails, says what was done before."""
    try:
        yield
    except MentorgradError:
        if done:
            freed = stored(sum(size for _, size in done))
            note(f"dropped {freed} of {counted(len(done), 'run')} before that")
        raise


def _report(out: Output, drops: Sequence[tuple[Drop, int]], *, dry_run: bool) -> None:
    total = sum(size for _, size in drops)
    if out.as_json:
        rows = [
            {
                "run_id": drop.run.run_id,
                "name": drop.run.name,
                "owner": drop.run.owner,
                "state": drop.run.state,
                "ended_at": drop.run.ended_at.isoformat(),
                "level": drop.level.value,
                "bytes": size,
            }
            for drop, size in drops
        ]
        out.json({"dry_run": dry_run, "bytes": total, "dropped": rows})
        return
    if not drops:
        note("nothing to drop: no ended run meets the policy")
        return
    columns = ("run", "name", "owner", "state", "ended", "drops", "bytes")
    out.table(columns, [_row(drop, size) for drop, size in drops])
    would = "would drop" if dry_run else "dropped"
    note(f"{would} {stored(total)} of {counted(len(drops), 'run')}")


def _row(drop: Drop, size: int) -> tuple[str, ...]:
    run = drop.run
    what = {"raw": "raw data", "run": "everything"}[drop.level.value]
    return (run.run_id, run.name, run.owner, run.state, moment(run.ended_at), what, str(size))
