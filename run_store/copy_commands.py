"""`mentorgrad store backup|restore|vacuum`: copies of a store, and its free space."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mentorgrad.cli.support.options import JsonOption
from mentorgrad.cli.support.output import Output, note, stored
from mentorgrad.errors import InvalidInput
from run_store.command_options import ReadableStoreOption, WritableStoreOption

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from run_store.sqlite_copies import CopyProgress

app = typer.Typer()

_TO_RUN = (
    "Nothing was copied: run this line. It reads the password from the file that PGPASSFILE names "
    "(~/.pgpass)."
)
_TOLD_EVERY = 64
"""Steps of 16 MiB between two lines about the progress."""


@app.command(
    "backup", epilog="Example: mentorgrad store backup copy.sqlite --store sqlite:///runs.sqlite"
)
def _backup(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", readable=False, help="The file to write.")
    ],
    store: ReadableStoreOption,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file if it is there already.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy a store to a file, while services use it. Of Postgres, print the line that does so."""
    from run_store import postgres_lines

    out, url = Output(as_json), _parsed(store)
    if url.drivername != "sqlite":
        _lines(out, "backup", postgres_lines.backup_line(url, str(file)))
        return
    from run_store.sqlite_copies import back_up

    size = back_up(Path(url.database or ""), file, _told("copied"), force=force)
    out.result({"file": str(file), "bytes": size}, f"{file} has a backup of {stored(size)}")


@app.command(
    "restore", epilog="Example: mentorgrad store restore copy.sqlite --store sqlite:///new.sqlite"
)
def _restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")],
    store: WritableStoreOption,
    as_json: JsonOption = False,
) -> None:
    """Copy a backup into an empty store. For Postgres, print the line that does so.

    Runs that were running when the backup was made are resumed by the next trainer service that is
    started with the store. Where the first store is still in use, they would be executed twice.
    """
    from run_store import postgres_lines

    out, url = Output(as_json), _parsed(store)
    if url.drivername != "sqlite":
        postgres_lines.check_no_tables(url)
        _lines(out, "restore", postgres_lines.restore_line(url, str(file)))
        return
    from run_store.sqlite_copies import restore

    path = Path(url.database or "")
    restore(file, path, _told("copied"))
    out.result({"store": str(path)}, f"{path} has the runs of {file}")


@app.command("vacuum", epilog="Example: mentorgrad store vacuum --store sqlite:///runs.sqlite")
def _vacuum(
    store: WritableStoreOption,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Write the file anew. Needs as much disk space once more, and keeps writers "
            "waiting.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Give the free space of an SQLite file back to the disk, in short steps."""
    from run_store.sqlite_copies import vacuum

    url = _parsed(store)
    if url.drivername != "sqlite":
        raise InvalidInput.field(
            "--store", "must be an SQLite file; Postgres does this by itself (autovacuum)"
        )
    path = Path(url.database or "")
    freed = vacuum(path, _told("given back"), full=full)
    out = Output(as_json)
    out.result({"store": str(path), "bytes": freed}, f"{path} is {stored(freed)} smaller")


def _parsed(store: str) -> URL:
    from run_store import dialects

    return dialects.parse(store)


def _lines(out: Output, name: str, line: str) -> None:
    if out.as_json:
        out.json({name: line})
        return
    out.line(line)
    note(_TO_RUN)


def _told(what: str) -> CopyProgress:
    """Prints a line about the progress from time to time."""
    steps = 0

    def told(done: int, total: int) -> None:
        nonlocal steps
        steps += 1
        if steps % _TOLD_EVERY == 0:
            note(f"{what}: {100 * done // max(total, 1)} %")

    return told
