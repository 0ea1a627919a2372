"""Opens SQLite files outside of a store's engine, and checks what they are."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from mentorgrad.errors import InvalidInput, MentorgradError, PreconditionFailed, Unavailable
from run_store import dialects
from run_store.schema_version import HEAD, VERSION_TABLE, check_ours

STORE = "--store"
"""What names a store on the command line."""


@contextlib.contextmanager
def private(path: Path) -> Iterator[None]:
    """Makes the file, if there is none, so that nobody else can read it; removes it again if it was
    made here and the block fails."""
    is_new = False
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        is_new = True
    try:
        yield
    except BaseException:
        if is_new:
            for rest in ("", "-journal", "-wal", "-shm"):
                Path(f"{path}{rest}").unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def opened(
    path: Path, *, read_only: bool = False, field: str = STORE
) -> Iterator[sqlite3.Connection]:
    """Opens a file that is there; its statements begin no transactions by themselves.

    Args:
        path: The file.
        read_only: Whether it is only read.
        field: What has named it.

    Raises:
        InvalidInput: There is none.
        Unavailable: It cannot be opened.
    """
    if os.path.isdir(path):
        raise InvalidInput.field(field, f"must name a file; {path} is a folder")
    if not os.path.isfile(path):
        raise InvalidInput.field(field, f"there is no store at {path}")
    with said(path, field):
        connection = (
            dialects.sqlite_reader(path)
            if read_only
            else sqlite3.connect(path, timeout=dialects.BUSY_SECONDS)
        )
    connection.isolation_level = None
    with contextlib.closing(connection):
        yield connection


@contextlib.contextmanager
def said(path: Path, field: str = STORE) -> Iterator[None]:
    """Translates what SQLite and the file system say of a file, which `field` has named.

    Raises:
        InvalidInput: It is not an SQLite database.
        Unavailable: It cannot be read or written.
    """
    try:
        yield
    except MentorgradError:
        raise
    except sqlite3.Error as error:
        reason = dialects.reason_of(error)
        if reason == "STORE_CORRUPT" and "not a database" in str(error):
            raise InvalidInput.field(field, f"{path} is not an SQLite database") from None
        raise Unavailable(f"{path}: {dialects.one_line(error)}", reason=reason) from None
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror or error}") from None


def _tables(connection: sqlite3.Connection) -> list[str]:
    names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    return [name for (name,) in connection.execute(names)]


def check_store(connection: sqlite3.Connection, path: Path, field: str = STORE) -> None:
    """Checks that a file, which `field` has named, is a run store whose schema is known here.

    Raises:
        InvalidInput: It is not.
    """
    with said(path, field):
        tables = _tables(connection)
        check_ours(tables, field, str(path))
        if VERSION_TABLE not in tables:
            raise InvalidInput.field(field, f"there is no store at {path}")
        statement = f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 - our name
        (version,) = connection.execute(statement).fetchone()
    if version > HEAD:
        raise InvalidInput.field(
            field,
            f"{path} has schema {version} of a newer mentorgrad; upgrade this installation",
        )


def check_empty(connection: sqlite3.Connection, path: Path) -> None:
    """Checks that a store, if there is one in a file, has no records.

    Raises:
        InvalidInput: Another application has filled the file.
        PreconditionFailed: It has some (reason STORE_NOT_EMPTY).
    """
    tables = _tables(connection)
    check_ours(tables, STORE, str(path))
    for table in sorted({"runs", "experiments", "uploads"} & set(tables)):
        one = f"SELECT 1 FROM {table} LIMIT 1"  # noqa: S608 - our name
        if connection.execute(one).fetchone():
            raise PreconditionFailed(
                f"{path} has {table}; a backup is restored only into an empty store",
                reason="STORE_NOT_EMPTY",
            )
