"""Copies of an SQLite store: backups while it is in use, restoring them, and giving free space back
to the disk.

A backup is one state of the store: the copy reads in one transaction, step by step, and writers go
on meanwhile. What they write stays in the write-ahead log until the copy is complete.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from mentorgrad.errors import InvalidInput, PreconditionFailed
from run_store.sqlite_files import STORE, check_empty, check_store, opened, private, said

FILE = "FILE"
"""What names a backup on the command line."""

STEP_PAGES = 1024
"""Pages copied in one step: 16 MiB of a store's pages of 16 KiB."""

CopyProgress = Callable[[int, int], None]
"""Is told how many pages are copied so far, and of how many."""


def back_up(store: Path, file: Path, told: CopyProgress, *, force: bool = False) -> int:
    """Copies a store to a file that only its owner can read.

    Args:
        store: File of the store.
        file: The new file; it appears when it is complete.
        told: Is told of the progress.
        force: Whether a file that is there is replaced.

    Returns:
        Bytes of the file.

    Raises:
        InvalidInput: The file is the store itself, or is there already; or there is no store.
        Unavailable: The store or the file cannot be read or written.
    """
    _check_place(store, file, force)
    part = file.with_name(f".{file.name[:40]}.{os.getpid()}.part")
    try:
        with opened(store, read_only=True) as source:
            check_store(source, store)
            with said(file), private(part), contextlib.closing(sqlite3.connect(part)) as target:
                target.execute("PRAGMA synchronous=OFF")  # it is synchronized as a whole below
                source.execute("BEGIN")
                source.execute("SELECT count(*) FROM sqlite_master").fetchone()  # the state begins
                source.backup(target, pages=STEP_PAGES, progress=_progress(told), sleep=0)
                # Readers of the backup then need no files beside it.
                target.execute("PRAGMA journal_mode=DELETE")
        with said(file):
            _publish(part, file, force)
            return file.stat().st_size
    finally:
        for rest in ("", "-journal", "-wal", "-shm"):
            Path(f"{part}{rest}").unlink(missing_ok=True)


def restore(file: Path, store: Path, told: CopyProgress) -> None:
    """Copies a backup into an empty store, in one transaction.

    Args:
        file: The backup.
        store: File of the store; it is made if there is none.
        told: Is told of the progress.

    Raises:
        InvalidInput: The backup is not a store, or of a newer version; or the store is the backup
            itself, or another application's.
        PreconditionFailed: The store is not empty (reason STORE_NOT_EMPTY).
        Unavailable: The store or the file cannot be read or written.
    """
    if _same(file, store):
        raise InvalidInput.field(STORE, f"{store} is the backup itself")
    with opened(file, read_only=True, field=FILE) as source:
        check_store(source, file, FILE)
        if not os.path.isdir(store.parent):
            raise InvalidInput.field(STORE, f"the folder {store.parent} does not exist")
        if os.path.lexists(store) and not os.path.exists(store):
            raise InvalidInput.field(STORE, f"{store} is a link to a file that does not exist")
        _check_folder(store, STORE)
        with private(store), opened(store) as target, said(store):
            check_empty(target, store)
            source.backup(target, pages=STEP_PAGES, progress=_progress(told), sleep=0)
            target.execute("PRAGMA journal_mode=WAL")


def vacuum(store: Path, told: CopyProgress, *, full: bool = False) -> int:
    """Gives free space of the file back to the disk.

    Args:
        store: File of the store.
        told: Is told of the progress.
        full: Whether the file is written anew, which takes as much disk space once more and keeps
            writers waiting. The steps otherwise are short transactions.

    Returns:
        Bytes that were given back.

    Raises:
        PreconditionFailed: The file cannot give back space in steps (reason NEEDS_FULL_VACUUM): an
            earlier version has made it.
        Unavailable: The store cannot be written.
    """
    with opened(store) as connection, said(store):
        check_store(connection, store)
        before = _pragma(connection, "page_count")
        if full:
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            connection.execute("VACUUM")
        elif _pragma(connection, "auto_vacuum") != _INCREMENTAL:
            raise PreconditionFailed(
                f"{store} was made by an earlier version; --full writes it anew once, and then it "
                "gives back space in steps",
                reason="NEEDS_FULL_VACUUM",
            )
        else:
            free = total = _pragma(connection, "freelist_count")
            while free:
                # `execute` would make one step of the statement, which frees one page.
                connection.executescript(f"PRAGMA incremental_vacuum({STEP_PAGES})")
                free, last = _pragma(connection, "freelist_count"), free
                told(total - free, total)
                if free >= last:  # others have freed as much meanwhile
                    break
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        after = _pragma(connection, "page_count")
        return (before - after) * _pragma(connection, "page_size")


_INCREMENTAL = 2
"""SQLite's number of the mode."""


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _progress(told: CopyProgress) -> Callable[[int, int, int], None]:
    return lambda _, left, total: told(total - left, total)


def _same(one: Path, other: Path) -> bool:
    with contextlib.suppress(OSError):
        return one.samefile(other)
    return one.absolute() == other.absolute()


def _check_place(store: Path, file: Path, force: bool) -> None:
    beside = (store, *(Path(f"{store}{rest}") for rest in ("-wal", "-shm", "-journal")))
    if any(_same(file, place) for place in beside):
        raise InvalidInput.field(FILE, f"{file} is the store itself, or a file of it")
    if os.path.isdir(file):
        raise InvalidInput.field(FILE, f"must name a file; {file} is a folder")
    if not os.path.isdir(file.parent):
        raise InvalidInput.field(FILE, f"the folder {file.parent} does not exist")
    if os.path.exists(file) and not os.path.isfile(file):
        raise InvalidInput.field(FILE, f"must name a file; {file} is a device or a pipe")
    if os.path.lexists(file) and not force:
        raise InvalidInput.field(FILE, f"{file} exists; --force replaces it")
    _check_folder(file, FILE)


def _check_folder(file: Path, field: str) -> None:
    """Checks that a file can be made beside those in its folder."""
    if not os.access(file.parent, os.W_OK | os.X_OK):
        said = f"{file} cannot be written: no write permission in the folder {file.parent}"
        raise InvalidInput.field(field, said)


def _publish(part: Path, file: Path, force: bool) -> None:
    """Gives the complete file its name, once it is on the disk."""
    descriptor = os.open(part, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if force:
        part.replace(file)
        return
    try:
        os.link(part, file)  # unlike renaming, this replaces nothing
    except FileExistsError:
        raise InvalidInput.field(FILE, f"{file} exists; --force replaces it") from None
    except OSError:  # a file system without links
        part.replace(file)
